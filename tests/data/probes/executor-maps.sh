. /probes/lib
readable maps
