import pytest
from django.contrib.auth.models import User
from django.test import Client

from api.auth.tokens import issue_token


@pytest.fixture
def ada(db):
    """A customer."""
    return User.objects.create_user("ada", password="correct horse")


@pytest.fixture
def http():
    """A client without a token, which shows an error of the server as a 500."""
    return Client(raise_request_exception=False)


@pytest.fixture
def ada_http(ada):
    """Ada's client."""
    return Client(
        headers={"Authorization": f"Bearer {issue_token(ada)}"}, raise_request_exception=False
    )
