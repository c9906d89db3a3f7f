"""The flags of the commands, in groups; a group is a dataclass whose fields are flags."""
