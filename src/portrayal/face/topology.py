"""The 478-point face topology (MediaPipe Face Mesh with irises): names for its points.

Convention: "right" and "left" are the person's own; a person who faces the camera has the right eye in the
picture's left half. All tables hold indices into the 478 points.
"""

from __future__ import annotations

LANDMARKS = 478

RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
"""Eyelid contour: outer corner, lower lid outwards in, inner corner, upper lid back."""
LEFT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
RIGHT_EYE_CORNERS = (33, 133)
"""Outer, inner."""
LEFT_EYE_CORNERS = (263, 362)
RIGHT_EYELIDS = ((160, 144), (159, 145), (158, 153))
"""(upper, lower) pairs, from the outer to the inner third."""
LEFT_EYELIDS = ((387, 373), (386, 374), (385, 380))
RIGHT_IRIS = (468, 469, 470, 471, 472)
"""Centre first, then four points of the rim."""
LEFT_IRIS = (473, 474, 475, 476, 477)
RIGHT_BROW = (46, 53, 52, 65, 55, 70, 63, 105, 66, 107)
LEFT_BROW = (276, 283, 282, 295, 285, 300, 293, 334, 296, 336)

LIPS_OUTER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
"""From the right corner along the lower lip to the left corner and back along the upper lip."""
LIPS_INNER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
MOUTH_CORNERS = (61, 291)
INNER_LIPS_PAIRS = ((82, 87), (13, 14), (312, 317))
"""(upper, lower) pairs of the inner lip line."""

FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
"""From the top of the forehead over the left side and the chin."""
NOSE_TIP = 1
CHIN = 152
FOREHEAD_TOP = 10

RIGID = (
    33, 133, 263, 362, 6, 168, 197, 195, 5, 4, 1, 2, 98, 327, 129, 358, 10, 67, 297, 109, 338, 54, 284, 127, 356,
    234, 454, 93, 323, 9, 8, 151, 108, 337, 117, 346, 118, 347, 50, 280, 101, 330, 116, 345,
)  # fmt: skip
"""Points that an expression moves least: eye corners, nose, forehead, temples, cheekbones."""

MIRROR = (
    0, 1, 2, 248, 4, 5, 6, 249, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 250, 251, 252, 253, 254, 255, 256,
    257, 258, 259, 260, 261, 262, 263, 264, 265, 266, 267, 268, 269, 270, 271, 272, 273, 274, 275, 276, 277,
    278, 279, 280, 281, 282, 283, 284, 285, 286, 287, 288, 289, 290, 291, 292, 293, 294, 295, 296, 297, 298,
    299, 300, 301, 302, 303, 304, 305, 306, 307, 308, 309, 310, 311, 312, 313, 314, 315, 316, 317, 318, 319,
    320, 321, 322, 323, 94, 324, 325, 326, 327, 328, 329, 330, 331, 332, 333, 334, 335, 336, 337, 338, 339, 340,
    341, 342, 343, 344, 345, 346, 347, 348, 349, 350, 351, 352, 353, 354, 355, 356, 357, 358, 359, 360, 361,
    362, 363, 364, 365, 366, 367, 368, 369, 370, 371, 372, 373, 374, 375, 376, 377, 378, 379, 151, 152, 380,
    381, 382, 383, 384, 385, 386, 387, 388, 389, 390, 164, 391, 392, 393, 168, 394, 395, 396, 397, 398, 399,
    175, 400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 195,
    419, 197, 420, 199, 200, 421, 422, 423, 424, 425, 426, 427, 428, 429, 430, 431, 432, 433, 434, 435, 436,
    437, 438, 439, 440, 441, 442, 443, 444, 445, 446, 447, 448, 449, 450, 451, 452, 453, 454, 455, 456, 457,
    458, 459, 460, 461, 462, 463, 464, 465, 466, 467, 3, 7, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32,
    33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59,
    60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 83, 84, 85, 86,
    87, 88, 89, 90, 91, 92, 93, 95, 96, 97, 98, 99, 100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111,
    112, 113, 114, 115, 116, 117, 118, 119, 120, 121, 122, 123, 124, 125, 126, 127, 128, 129, 130, 131, 132,
    133, 134, 135, 136, 137, 138, 139, 140, 141, 142, 143, 144, 145, 146, 147, 148, 149, 150, 153, 154, 155,
    156, 157, 158, 159, 160, 161, 162, 163, 165, 166, 167, 169, 170, 171, 172, 173, 174, 176, 177, 178, 179,
    180, 181, 182, 183, 184, 185, 186, 187, 188, 189, 190, 191, 192, 193, 194, 196, 198, 201, 202, 203, 204,
    205, 206, 207, 208, 209, 210, 211, 212, 213, 214, 215, 216, 217, 218, 219, 220, 221, 222, 223, 224, 225,
    226, 227, 228, 229, 230, 231, 232, 233, 234, 235, 236, 237, 238, 239, 240, 241, 242, 243, 244, 245, 246,
    247, 473, 476, 475, 474, 477, 468, 471, 470, 469, 472,
)  # fmt: skip
"""Point i of a mirrored picture is point MIRROR[i] of the picture (an involution; 28 points lie on the midline).

Found by matching the symmetric mean face of the development clips with its own mirror image.
"""

POINTS_68 = (
    162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389,
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,
    168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181,
    78, 82, 13, 312, 308, 317, 14, 87,
)  # fmt: skip
"""The 68-point set of iBUG 300-W, as the nearest mesh points."""

MOUTH_20 = POINTS_68[48:]
"""Twelve points of the outer lip line and eight of the inner one."""
NOSE_BRIDGE = (168, 6, 197, 195, 5, 4, 1, 19, 94, 2)
"""Down the midline, from between the eyes to the lip."""
NOSE_WINGS = (98, 327, 97, 326, 129, 358, 64, 294, 48, 278, 115, 344, 220, 440, 45, 275)
CHEEKS = (50, 280, 101, 330, 205, 425)
FACE_120 = FACE_OVAL + RIGHT_EYE + LEFT_EYE + RIGHT_BROW + LEFT_BROW + NOSE_BRIDGE + NOSE_WINGS + CHEEKS
"""Outline, lids, brows, nose and cheeks: with `MOUTH_20` and `PUPIL_PAIRS` the 145 points of MMFA's landmark loss."""
PUPIL_PAIRS = tuple(zip(RIGHT_IRIS, LEFT_IRIS, strict=True))
"""Five (right, left) pairs of iris points; the middle of a pair moves with the gaze of both eyes."""
