. /probes/lib
more_than_one "$(for pid in $(others); do kill -0 "$pid" && echo "$pid"; done)"
