"""MMFA: Motion Manipulation via Unsupervised Keypoint Positioning in Face Animation (Li, Liu, Liu, Zhang)."""
