"""The paradigms that come with edgesim, one module each, written only against edgesim's public contract."""
