"""A JPEG picture that is coded arithmetically, which no encoder at hand writes.

`jpegtran -arithmetic` of libjpeg-turbo made it of one with whole chroma.
"""

from base64 import b64decode

import numpy as np

from deploy.local.tissue import Pixels

SIDE = 128
CODED = b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJBwYGCAsICQoKCgoKBggLDAsK"
    "DAkKCgr/2wBDAQICAgICAgUDAwUKBwYHCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgr/yQARCACAAIAD"
    "AREAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIRAxEAPwD/ALloxDKHv9XsqyMrk1094nxwx19nd3LHQ7VqX7vqzHlyrVqMPlDsCLCWj/M4tCtx"
    "ZADtxajVWVeGg/iG8ORp2Mxd+mNf9HCBo1nG1P7Ph+5GSf48xL/NirOKfV8/i7cPboC20krEB4y2w5e1nsuFNEwz1+8iX+ynW0to+PViXLHWLVOt"
    "Fku+pBFYGJON5BpIrgzakoUsUlKaiDnsSDVwPiJoQeEpNyji6ZlrP3jTAkywUByJ77376P/Z"
)


def shown() -> Pixels:
    """What it shows: four squares."""
    corners = np.array([[(200, 60, 90), (60, 150, 80)], [(70, 80, 190), (240, 235, 228)]], np.uint8)
    return corners.repeat(SIDE // 2, 0).repeat(SIDE // 2, 1)
