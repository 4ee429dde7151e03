"""HeteroFL (Diao, Ding, Tarokh, ICLR 2021, arXiv 2010.01264): federated learning over nested widths of one network.

``learner`` holds the protocol, ``network`` the narrow networks, ``work`` training and merging, pure and tested without
a world.
"""
