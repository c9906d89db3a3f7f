. /probes/lib
readable exe
