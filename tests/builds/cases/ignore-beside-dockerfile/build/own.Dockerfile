# The file beside the Dockerfile goes before the one of the context.
FROM busybox
COPY . /all
