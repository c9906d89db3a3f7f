. /probes/lib
readable environ
