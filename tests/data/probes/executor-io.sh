. /probes/lib
readable io
