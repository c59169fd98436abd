"""Links in a database, by Django's ORM."""

from __future__ import annotations

from django.db import models

from links.codes import LENGTH, new_code
from links.schemas import MAX_LENGTH


class StoredLink(models.Model):
    """One link."""

    code = models.CharField(max_length=LENGTH, unique=True, default=new_code)
    url = models.CharField(max_length=MAX_LENGTH)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.code
