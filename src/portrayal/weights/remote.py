"""Weights that the package does not contain: where they are, under which licence, and what they must be.

Hashes and sizes are those that public projects state. A checkpoint without them is fetched by hand.
"""

from __future__ import annotations

from dataclasses import dataclass

TORCHVISION = "https://download.pytorch.org/models"
LPIPS = (
    "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/"
    "082bb24f84c091ea94de2867d34c4544f68e0963/lpips/weights/v0.1"
)
GOOGLE_DRIVE = "https://drive.usercontent.google.com/download?export=download&confirm=t&id="
"""With the number of a file: the file itself, not the page that asks whether to download it."""


@dataclass(frozen=True)
class RemoteWeights:
    """A file with weights that can be downloaded and checked."""

    url: str
    """Where it is; huggingface.co addresses follow HF_ENDPOINT."""
    sha256: str
    size_bytes: int
    licence: str
    what: str
    """What it is and what needs it, in a few words."""


@dataclass(frozen=True)
class WeightsByHand:
    """An official checkpoint whose hash and size are not known, so that a user fetches it."""

    page: str
    """Where its authors link to it."""
    licence: str
    what: str
    convert: str
    """The command that makes a weights file of it."""


REMOTE: dict[str, RemoteWeights] = {
    "mediapipe-face-landmarker": RemoteWeights(
        url="https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/face_landmarker.task",
        sha256="64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
        size_bytes=3_758_596,
        licence="Apache-2.0",
        what="MediaPipe Face Landmarker, for the mediapipe tracker",
    ),
    "vgg16": RemoteWeights(
        url=f"{TORCHVISION}/vgg16-397923af.pth",
        sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        size_bytes=553_433_881,
        licence="BSD-3-Clause (torchvision); trained on ImageNet",
        what="VGG16, for perceptual losses and LPIPS vgg",
    ),
    "vgg19": RemoteWeights(
        url=f"{TORCHVISION}/vgg19-dcbb9e9d.pth",
        sha256="dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
        size_bytes=574_673_361,
        licence="BSD-3-Clause (torchvision); trained on ImageNet",
        what="VGG19, for the perceptual loss of FOMM, face-vid2vid and MMFA",
    ),
    "alexnet": RemoteWeights(
        url=f"{TORCHVISION}/alexnet-owt-7be5be79.pth",
        sha256="7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        size_bytes=244_408_911,
        licence="BSD-3-Clause (torchvision); trained on ImageNet",
        what="AlexNet, for LPIPS alex",
    ),
    "squeezenet": RemoteWeights(
        url=f"{TORCHVISION}/squeezenet1_1-b8a52dc0.pth",
        sha256="b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
        size_bytes=4_958_839,
        licence="BSD-3-Clause (torchvision); trained on ImageNet",
        what="SqueezeNet 1.1, for LPIPS squeeze",
    ),
    "lpips-alex": RemoteWeights(
        url=f"{LPIPS}/alex.pth",
        sha256="df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
        size_bytes=6_009,
        licence="BSD-2-Clause",
        what="linear heads of LPIPS alex",
    ),
    "lpips-vgg": RemoteWeights(
        url=f"{LPIPS}/vgg.pth",
        sha256="a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
        size_bytes=7_289,
        licence="BSD-2-Clause",
        what="linear heads of LPIPS vgg",
    ),
    "lpips-squeeze": RemoteWeights(
        url=f"{LPIPS}/squeeze.pth",
        sha256="4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76",
        size_bytes=10_811,
        licence="BSD-2-Clause",
        what="linear heads of LPIPS squeeze",
    ),
    "fid-inception": RemoteWeights(
        url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
        sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        size_bytes=95_628_359,
        licence="Apache-2.0; trained on ImageNet",
        what="Inception of the official FID, for FID and KID",
    ),
    "arcface-irse50": RemoteWeights(
        url="https://github.com/xinntao/facexlib/releases/download/v0.1.0/recognition_arcface_ir_se50.pth",
        sha256="a035c768259b98ab1ce0e646312f48b9e1e218197a0f80ac6765e88f8b6ddf28",
        size_bytes=175_367_323,
        licence="MIT (InsightFace_Pytorch); trained on MS-Celeb-1M, research only",
        what="ArcFace IR-SE50 (model_ir_se50.pth), for CSIM and identity losses",
    ),
    "fan-2dfan4": RemoteWeights(
        url="https://www.adrianbulat.com/downloads/python-fan/2DFAN4-11f355bf06.pth.tar",
        sha256="11f355bf0693120222f5955ce3f9dc8fb5763ebb30a47d7906e509490d32e4aa",
        size_bytes=95_641_761,
        licence="BSD-3-Clause (face-alignment)",
        what="2D-FAN, 68 landmarks for AKD and NME",
    ),
    "i3d-kinetics400": RemoteWeights(
        url="https://huggingface.co/flateon/FVD-I3D-torchscript/resolve/"
        "1c2d61711c52571ad617a1063e6fa691b212e184/i3d_torchscript.pt",
        sha256="bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2",
        size_bytes=51_235_320,
        licence="Apache-2.0 (kinetics-i3d); TorchScript of StyleGAN-V",
        what="I3D on Kinetics-400, for FVD",
    ),
    "hopenet": RemoteWeights(
        url=f"{GOOGLE_DRIVE}1m25PrSE7g9D2q2XJVMR6IA7RaCvWSzCR",
        sha256="1e0c6ddfda0e19a679607480c10875020de29b3984f187ec311c5e0802b6b6d5",
        size_bytes=95_924_799,
        licence="Apache-2.0 (deep-head-pose); trained on 300W-LP",
        what="Hopenet (hopenet_robust_alpha1.pkl), head pose from a picture; convert hopenet",
    ),
    "face-vid2vid": RemoteWeights(
        url="https://huggingface.co/vinthony/SadTalker/resolve/"
        "4aedd064359e623398a2d73eb8c253ebb2bd516c/facevid2vid_00189-model.pth.tar",
        sha256="fbad01d46f0510276dc4521322dde6824a873a4222cd0740c85762e7067ea71d",
        size_bytes=2_112_619_148,
        licence="CC BY-NC 4.0 (zhanglonghao1992/One-Shot_Free-View_Neural_Talking_Head_Synthesis)",
        what="face-vid2vid on VoxCeleb, 256 x 256, as SadTalker keeps it; convert face-vid2vid",
    ),
    "e4e-ffhq": RemoteWeights(
        url=f"{GOOGLE_DRIVE}1cUv_reLE6k3604or78EranS7XzuVMWeO",
        sha256="2ace1d9a8c05c10a399bcd500b8dda118f759ff1aac89dbdab7435f2136a0999",
        size_bytes=1_201_649_680,
        licence="MIT (encoder4editing); the StyleGAN2 inside is NVIDIA's, non-commercial",
        what="encoder of e4e for FFHQ (e4e_ffhq_encode.pt); convert e4e",
    ),
}

BY_HAND: dict[str, WeightsByHand] = {
    "directions": WeightsByHand(
        page="https://github.com/StelaBou/stylegan_directions_face_reenactment",
        licence="none stated; trained with NVIDIA's StyleGAN2-ADA, non-commercial",
        what="generator, e4e encoder and matrix A of the directions paper on VoxCeleb",
        convert="portrayal weights convert directions stylegan-voxceleb.pt e4e-voxceleb.pt A_matrix.pt "
        "-o directions.safetensors",
    ),
    "eg3d": WeightsByHand(
        page="https://catalog.ngc.nvidia.com/orgs/nvidia/teams/research/models/eg3d",
        licence="NVIDIA Source Code License, non-commercial",
        what="EG3D's generator for FFHQ (ffhqrebalanced512-128.pkl or ffhq512-128.pkl), where otavatar can start from",
        convert="portrayal weights convert eg3d ffhqrebalanced512-128.pkl -o eg3d.safetensors",
    ),
    "otavatar": WeightsByHand(
        page="https://github.com/theEricMa/OTAvatar",
        licence="CC BY-NC-SA 4.0, and NVIDIA's for EG3D, non-commercial",
        what="controller and EG3D generator of OTAvatar",
        convert="portrayal weights convert otavatar CHECKPOINT -o otavatar.safetensors",
    ),
}
