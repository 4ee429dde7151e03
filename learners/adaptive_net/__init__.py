"""AdaptiveNet (Wen et al., MobiCom 2023, arXiv 2303.07129): a network with branches, of which a device picks a path.

``learner`` holds the protocol, ``architectures`` and ``network`` the networks, ``search`` which path, ``work`` training
and cutting, pure and tested without a world.
"""
