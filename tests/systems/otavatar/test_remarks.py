"""What is said about photos and motions that ask too much."""

import torch

from portrayal.face.morphable import fit_params, load_face_model
from portrayal.face.pose import angles_to_rotation
from portrayal.systems.otavatar.remarks import motion_remarks, photo_remarks


def face(yaw=0.0, pitch=0.0, scale=60.0, confidence=1.0, frames=1):
    model = load_face_model()
    landmarks = model.mean[None] * scale + torch.tensor([100.0, 100, 0])
    params = fit_params(model, landmarks, width=200, height=200)[[0] * frames]
    turn = angles_to_rotation(torch.deg2rad(torch.tensor([[yaw, pitch, 0.0]]))).expand(frames, 3, 3)
    return params.replace(rotation=turn, confidence=torch.full((frames,), confidence))


def test_a_good_photo_needs_no_remark():
    assert photo_remarks(face(yaw=30, pitch=-20)) == ()


def test_a_profile_a_tiny_face_and_a_covered_one_are_said():
    assert "yaw -60, pitch 0 degrees" in photo_remarks(face(yaw=-60))[0]
    assert "pitch 40" in photo_remarks(face(pitch=40))[0]
    assert "pixels wide" in photo_remarks(face(scale=20))[0]
    assert "hard to make out" in photo_remarks(face(confidence=0.3))[0]
    assert len(photo_remarks(face(yaw=50, scale=20, confidence=0.3))) == 3


def test_frames_are_named():
    motion = face(frames=6)
    assert motion_remarks(motion) == ()
    rotation, confidence = motion.rotation.clone(), motion.confidence.clone()
    rotation[2:4] = face(yaw=50).rotation
    confidence[5] = 0.4
    turned, unsure = motion_remarks(motion.replace(rotation=rotation, confidence=confidence))
    assert "in frames 2-3;" in turned
    assert "in frame 5;" in unsure
