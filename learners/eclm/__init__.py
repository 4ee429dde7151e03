"""ECLM (arXiv 2311.11083), published as Nebula (ICPP 2024): edge-cloud learning with block-level modular models.

``learner`` holds the protocol (what happens when); everything else is arithmetic, pure and tested without a world:
``blocks`` and ``tracing`` find what to modularise, ``layers``, ``selector`` and ``network`` are the modular network,
``architectures`` makes it a value, ``parts`` takes it apart, ``balance``, ``assignment``, ``derivation``,
``aggregation`` and ``inheritance`` are the method's steps, ``work`` makes jobs of them.
"""
