"""Finding Directions in GAN's Latent Space for Neural Face Reenactment (Bounareli et al. 2022).

So far: pose parameters and the matrix of directions (section 3.1), its training stages (sections 3.1 to 3.3), those of
the generator and of the encoder, and the tuning of the generator (section 3.2). Not in `SYSTEMS` until it renders.
"""
