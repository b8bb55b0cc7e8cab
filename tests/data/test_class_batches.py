"""Batches of few classes: every sample once, few classes while there are enough samples, by seed and epoch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from localgrad.data import CIFAR100, Augment, ClassesPerBatch, DataError, ImageSet, Loader, Split
from localgrad.data.class_batches import few_classes
from localgrad.data.draws import epoch_order


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=60), st.integers(1, 7), st.integers(1, 20), st.integers(0, 9))
def test_every_sample_once_and_few_classes_until_they_run_out(labels: list[int], classes: int, size: int, seed: int):
    labels_N = torch.tensor(labels)
    order_N = epoch_order(len(labels), seed, 0)
    found_N = few_classes(order_N, labels_N, classes, size)
    assert sorted(found_N.tolist()) == list(range(len(labels)))
    left = order_N.tolist()
    for batch_B in found_N.split(size):
        # Slowly: the classes of the next samples, their first samples, then what comes next.
        chosen = list(dict.fromkeys(labels[i] for i in left))[:classes]
        fitting = [i for i in left if labels[i] in chosen][: len(batch_B)]
        others = [i for i in left if labels[i] not in chosen][: len(batch_B) - len(fitting)]
        assert batch_B.tolist() == fitting + others
        left = [i for i in left if i not in fitting + others]


def hundred_classes(**changes) -> Loader:
    labels = torch.arange(5000) % 100
    split = Split(torch.zeros(5000, 1, 2, 2, dtype=torch.uint8), labels)
    values = {"mean": (0.5,), "std": (0.5,), "batch_size": 128, "seed": 3, "device": "cpu", "shuffle": True}
    return Loader(split, **{**values, "classes_per_batch": ClassesPerBatch(20, until_epoch=2), **changes})


def classes_of(loader: Loader, epoch: int) -> list[int]:
    return [len(batch.y.unique()) for batch in loader.epoch(epoch)]


def test_as_predsim_on_cifar100():
    few = classes_of(hundred_classes(), 1)
    assert len(few) == 40 and few[:25] == [20] * 25 and sum(count == 20 for count in few) >= 30
    assert classes_of(hundred_classes(), 2) == classes_of(hundred_classes(classes_per_batch=None), 2)
    assert min(classes_of(hundred_classes(), 2)[:-1]) > 50
    assert max(classes_of(hundred_classes(classes_per_batch=ClassesPerBatch(20)), 900)[:25]) == 20


def test_order_is_a_function_of_seed_and_epoch():
    def labels(epoch: int, **changes) -> list[int]:
        loader = hundred_classes(**changes)
        return [int(y) for index in (7, 3) for y in loader.batch(epoch, index).y]

    assert labels(1) == labels(1)
    assert labels(1) != labels(0) and labels(1) != labels(1, seed=4)


def test_wrong_values():
    with pytest.raises(DataError, match=r"ClassesPerBatch.classes: expected 1 or more, got 0"):
        ClassesPerBatch(0)
    with pytest.raises(DataError, match=r"ClassesPerBatch.until_epoch: expected 1 or more, or None, got 0"):
        ClassesPerBatch(2, 0)
    with pytest.raises(DataError, match="Loader: classes_per_batch: rearranges a shuffled order; give shuffle=True"):
        hundred_classes(shuffle=False)
    problem = "classes_per_batch: expected at most the 100 classes there are, got 101"
    assert f"cifar100: {problem}" in CIFAR100(classes_per_batch=ClassesPerBatch(101)).problems()
    split = Split(torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1]))
    with pytest.raises(DataError, match="noise: classes_per_batch: expected at most the 2 classes there are, got 3"):
        ImageSet("noise", split, split, ("a", "b"), (0.5,), (0.5,), Augment(), classes_per_batch=ClassesPerBatch(3))


def test_cifar100_hands_it_to_the_training_loader_only(tmp_path, publish):
    publish.cifar100_python(tmp_path, count=12)
    images = CIFAR100(tmp_path, classes_per_batch=ClassesPerBatch(2)).load()
    options = {"batch_size": 4, "seed": 0, "device": torch.device("cpu")}
    assert images.loader("train", training=True, **options).classes_per_batch == ClassesPerBatch(2)
    assert images.loader("test", training=False, **options).classes_per_batch is None
