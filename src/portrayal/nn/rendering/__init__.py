"""Volume rendering of a field of colour and density, as EG3D does it; `nn.triplane` makes such fields.

`rays` from a camera, `sampling` of depths along them, `marching` from samples to colour and depth, `volume` for all of
it in two passes with gradients, `fast` for the same picture at inference, `density` for regularisers.
"""
