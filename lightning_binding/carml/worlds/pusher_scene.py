"""The scene of the pusher in MuJoCo: a table, an arm of capsules and a puck, and what it is rendered with."""

import ctypes.util
import importlib
import os
import sys
from typing import Any

from lightning_binding.errors import InputError
from lightning_binding.extras import imported

HALF = 0.4  # of the square that hand and puck stay in, in metres
SIZE = 64
# Without shadows and oversampling a picture takes a sixtieth of the time on a processor.
SCENE = f"""
<mujoco model="pusher">
  <option timestep="0.01"/>
  <visual>
    <quality shadowsize="0" offsamples="0"/>
    <global offwidth="{SIZE}" offheight="{SIZE}"/>
    <headlight ambient="0.5 0.5 0.5" diffuse="0.5 0.5 0.5" specular="0 0 0"/>
  </visual>
  <default>
    <joint type="slide" limited="true" range="-{HALF} {HALF}"/>
  </default>
  <worldbody>
    <camera name="top" pos="0 0 1.2" fovy="46"/>
    <geom name="table" type="box" size="0.5 0.5 0.02" pos="0 0 -0.02" rgba="0.16 0.16 0.18 1"/>
    <body name="hand" pos="0 0 0.03">
      <joint name="hand_x" axis="1 0 0" damping="5"/>
      <joint name="hand_y" axis="0 1 0" damping="5"/>
      <geom name="fist" type="capsule" fromto="0 0 0.01 0 0 0.06" size="0.035" mass="0.5" rgba="0.9 0.2 0.2 1"/>
      <geom name="forearm" type="capsule" fromto="0 0 0.09 0 -0.45 0.14" size="0.022" mass="0.01"
            rgba="0.65 0.12 0.12 1" contype="0" conaffinity="0"/>
      <geom name="upper_arm" type="capsule" fromto="0 -0.45 0.14 0 -0.9 0.14" size="0.03" mass="0.01"
            rgba="0.5 0.1 0.1 1" contype="0" conaffinity="0"/>
    </body>
    <body name="puck" pos="0 0 0.022">
      <joint name="puck_x" axis="1 0 0" damping="2" frictionloss="0.2"/>
      <joint name="puck_y" axis="0 1 0" damping="2" frictionloss="0.2"/>
      <geom name="disc" type="cylinder" size="0.05 0.02" mass="0.2" rgba="0.95 0.95 0.95 1"/>
    </body>
  </worldbody>
  <actuator>
    <velocity joint="hand_x" kv="20"/>
    <velocity joint="hand_y" kv="20"/>
  </actuator>
</mujoco>
"""
LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}


def mujoco() -> Any:
    """The package, told of a way to render without a screen if nobody has.

    Raises:
        InputError: If it is not installed.
    """
    if sys.platform == "linux" and "MUJOCO_GL" not in os.environ:
        found = [name for name, library in LIBRARIES.items() if ctypes.util.find_library(library)]
        os.environ["MUJOCO_GL"] = found[0] if found else "disable"
        if sys.modules.get("mujoco.gl_context") is not None:  # it chose a screen when it was imported
            importlib.reload(sys.modules["mujoco.gl_context"])
    return imported("mujoco", "mujoco", "the pusher")


def renderer(model: Any) -> Any:
    """What renders pictures of a model.

    Raises:
        InputError: If nothing renders here.
    """
    package = mujoco()
    try:
        return package.Renderer(model, SIZE, SIZE)
    except Exception as error:  # of another class for every way that a screen is missing
        raise InputError(
            f"pictures of the pusher cannot be rendered here ({type(error).__name__}: {error}): install EGL or OSMesa, "
            "as by apt-get install libegl1 libgl1-mesa-dri, or libosmesa6 with MUJOCO_GL=osmesa; or take the "
            "coordinates, pictures: false."
        ) from error
