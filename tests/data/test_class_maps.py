"""Classes of two sets paired by name."""

import pytest

from localgrad.data import CIFAR10, MNIST, STL10, SVHN, DataError, FashionMNIST, match_classes


def test_cifar10_and_stl10_share_nine() -> None:
    found = match_classes(CIFAR10.classes, STL10.classes, "here")
    assert found.partners == (0, 2, 1, 3, 4, 5, 7, None, 8, 9)
    assert (found.only_source, found.only_target) == (("frog",), ("monkey",))
    assert ("automobile", "car") in found.pairs and len(found.pairs) == 9
    back = match_classes(STL10.classes, CIFAR10.classes, "here")
    assert back.partners == (0, 2, 1, 3, 4, 5, None, 6, 8, 9)
    assert (back.only_source, back.only_target) == (("monkey",), ("frog",))
    # Their numbers agree for six of ten: what labels that are not mapped would be judged by.
    assert sum(partner == label for label, partner in enumerate(found.partners)) == 6


def test_the_same_names_in_another_order_and_spelling() -> None:
    found = match_classes(("Ankle boot", "bag", "T-shirt"), ("t_shirt", "BAG", "ankle-boot"), "here")
    assert found.partners == (2, 1, 0) and not found.only_source and not found.only_target
    assert match_classes(MNIST.classes, SVHN.classes, "here").partners == tuple(range(10))


def test_an_exact_name_goes_before_a_synonym() -> None:
    found = match_classes(("automobile", "car", "dog"), ("car", "dog"), "here")
    assert found.partners == (1, 2) and found.only_source == ("automobile",)
    assert match_classes(("car", "dog"), ("car", "automobile", "dog"), "here").partners == (0, None, 1)


def test_classes_that_do_not_correspond() -> None:
    with pytest.raises(DataError) as told:
        match_classes(MNIST.classes, FashionMNIST.classes, "mlp on mnist")
    assert str(told.value) == (
        "mlp on mnist: the classes do not correspond, so there is no accuracy without training (shared by name: "
        "none).\n"
        "The network's 10 classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9.\n"
        "The other set's 10 classes: T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag, "
        "Ankle boot."
    )
    with pytest.raises(DataError, match=r"shared by name: dog"):
        match_classes(("dog", "a"), ("dog", "b"), "here")
    # ImageNet32's classes are numbers of a list of its own: no digits.
    with pytest.raises(DataError, match=r"shared by name: none.*\n.*19, 20 and 980 more"):
        match_classes(tuple(map(str, range(1, 1001))), MNIST.classes, "here")


def test_names_that_occur_twice() -> None:
    with pytest.raises(DataError, match=r"here: the other set's classes cannot .* these occur twice: dog\."):
        match_classes(("dog", "cat"), ("Dog", "dog", "cat"), "here")
