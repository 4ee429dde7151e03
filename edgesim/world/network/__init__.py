"""Links and transfers in virtual time: fluid flows with exact max-min fair rates.

Owns how long bytes take. Which links a device has, and what a transfer means, is decided elsewhere.
"""

from .network import Network
from .transfer import Link, Transfer, Transferred

__all__ = ["Link", "Network", "Transfer", "Transferred"]
