"""nakawari: draw in-betweens for 2D animation; adapt, train, quantize and evaluate the models.

Importing the package is cheap; heavy libraries are imported with the modules that need them.
"""

from .names_for_diffusers import register

__version__ = "0.1.0"

register()
