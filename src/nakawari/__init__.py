"""nakawari: in-betweens for 2D animation, drawn, adapted, made small, and measured by one protocol.

Importing the package is cheap; the heavy libraries load with the modules that need them.
"""

from .names_for_diffusers import register

__version__ = "0.1.0"

register()
