from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from napari_sa2net.engine.training.boundaries import BACKGROUND, BOUNDARY, OBJECT, boundary_classes


def classes_of(instances: np.ndarray) -> np.ndarray:
    return boundary_classes(torch.from_numpy(instances).float()[None])[0].numpy()


def test_object_and_boundary_together_are_the_mask() -> None:
    rng = np.random.default_rng(0)
    seeds = rng.integers(0, 5, (6, 6))
    instances = np.kron(seeds, np.ones((8, 8), int))
    assert np.array_equal(classes_of(instances) != BACKGROUND, instances > 0)


def test_a_lone_object_has_a_rim_of_one_pixel() -> None:
    instances = np.zeros((20, 20), int)
    instances[5:15, 5:15] = 7
    classes = classes_of(instances)
    assert (classes[6:14, 6:14] == OBJECT).all()
    assert (classes == BOUNDARY).sum() == 10 * 10 - 8 * 8


def test_touching_objects_are_apart_without_their_boundary() -> None:
    instances = np.zeros((20, 30), int)
    instances[4:16, 3:15] = 1
    instances[4:16, 15:27] = 2
    classes = classes_of(instances)
    assert ndimage.label(classes == OBJECT)[1] == 2
    assert (classes[8, 13:17] == BOUNDARY).all(), "two pixels on either side of the contact"


def test_the_numbers_of_the_objects_do_not_matter() -> None:
    instances = np.zeros((20, 30), int)
    instances[4:16, 3:15] = 1
    instances[4:16, 17:27] = 2
    renumbered = np.array([0, 900, 3])[instances]
    assert np.array_equal(classes_of(instances), classes_of(renumbered))


def test_what_is_unknown_stays_so_and_makes_no_boundary() -> None:
    instances = np.zeros((20, 20), int)
    instances[5:15, 5:15] = 3
    whole = classes_of(instances)
    instances[:, 10:] = -1
    classes = classes_of(instances)
    assert (classes[:, 10:] == -1).all()
    assert np.array_equal(classes[:, :10], whole[:, :10])


def test_of_strokes_only_contacts_are_boundaries() -> None:
    instances = np.full((20, 20), -1)
    instances[5:9, 3:10], instances[5:9, 10:16], instances[15] = 1, 2, 0
    classes = boundary_classes(torch.from_numpy(instances).float()[None], rim=False)[0].numpy()
    assert (classes[5:9, 8:12] == BOUNDARY).all()
    assert (classes == BOUNDARY).sum() == 16
    assert (classes[15] == BACKGROUND).all()
