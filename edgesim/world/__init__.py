"""What happens in virtual time: devices, the cloud, the links between them."""
