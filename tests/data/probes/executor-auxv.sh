. /probes/lib
readable auxv
