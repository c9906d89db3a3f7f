. /probes/lib
for pid in $(others); do
    readlink "/proc/$pid"/fd/* "/proc/$pid"/map_files/*
    cat "/proc/$pid"/fdinfo/*
done
