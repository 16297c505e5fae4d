"""Faces in pictures: detector and landmarks (`tracker`), pose, linear 3D model, cameras, smoothing.

Convention, for all modules of this package: pictures x right, y down, pixel centres at half integers. The picture frame
adds z into the scene, in pixels; the head frame has the same axes on a head that looks straight at the camera, so its
nose points to -z (`pose`, `morphable`). The world of the tri-plane systems has y up and z towards the camera
(`camera`). Angles in radians: positive yaw turns to the picture's left, positive pitch down, positive roll clockwise.
Right and left are the person's own, and right comes first.
"""
