# A file of the build context, where that is a volume
(: >> /workspace/file) && echo /workspace/file
