"""A signature is the same in every release, because old and new processes run side by side."""

from sagas.celery import signing

HEADERS = {"task": "sagas.flush", "id": "0192f0c1-9a3b-7f21-9d0e-4c6b8a0e2f56", "lang": "py"}
BODY = [["orders"], {}, {"callbacks": None}]


def test_a_release_signs_as_the_release_before_it():
    signature = signing._signature(HEADERS, BODY, "k" * 40)
    assert signature == "HivOCF9uLV_BOX8WJFBJcrKMyzPbsBDQp_92dR9iucI"
