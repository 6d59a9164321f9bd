"""nanio, with ranges answered as S3 answers them (RFC 9110, 14.1.2): nanio 0.1.7 refuses one that ends behind the object, instead of
ending it there, and calls one that begins behind it by another name.

Killed while it writes what it knows of an object, it leaves a file under a name that it never takes again, and answers 500 to whoever
writes that object later. A store that people rely on outlives its own death, so these files go before it starts."""

import pathlib
import sys

from nanio import cli
from nanio.errors import S3Error
from nanio.storage.filesystem import FilesystemStorage


class InvalidRange(S3Error):
    code = "InvalidRange"
    message = "The requested range is not satisfiable"
    http_status = 416


as_it_is = FilesystemStorage.get_object


async def get_object(self, bucket, key, *, range_start=None, range_end=None):
    if range_start is not None:
        last = self.head_object(bucket, key).size - 1
        if range_start > last:
            raise InvalidRange(resource=f"{bucket}/{key}")
        range_end = last if range_end is None else min(range_end, last)
    return await as_it_is(self, bucket, key, range_start=range_start, range_end=range_end)


FilesystemStorage.get_object = get_object
folder = pathlib.Path(sys.argv[sys.argv.index("--data-dir") + 1])
for left in folder.glob("*/.nanio-meta/**/*.json.tmp"):
    left.unlink()
sys.exit(cli.main())
