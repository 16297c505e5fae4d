"""Finding Directions in GAN's Latent Space for Neural Face Reenactment (Bounareli et al. 2022).

So far: pose parameters and the matrix of directions (section 3.1). Not in `SYSTEMS` until it renders.
"""
