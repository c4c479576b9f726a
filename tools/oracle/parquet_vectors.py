#!/usr/bin/env python3
"""Makes trainloop/corpus/testdata/arrow.parquet with Apache Arrow (pyarrow): a file of another writer than
the library that march reads Parquet with. Run from the repository's root."""
import os

import pyarrow
import pyarrow.parquet

bodies = [f"The keeper of lighthouse {i % 5} counted ships. äöü 船" for i in range(60)]
table = pyarrow.table({"id": list(range(60)), "body": bodies, "score": [i / 7 for i in range(60)]})
os.makedirs("trainloop/corpus/testdata", exist_ok=True)
pyarrow.parquet.write_table(table, "trainloop/corpus/testdata/arrow.parquet", compression="snappy", row_group_size=25)
