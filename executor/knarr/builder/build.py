"""A whole build in four calls: resolve, decide, execute, deliver."""

import os
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from knarr.builder.cache.cached_layers import CachedLayers
from knarr.builder.cache.decisions import Decisions, decide, decide_soundly
from knarr.builder.cache.input_keys import InputKeys
from knarr.builder.cache.layer_cache import LayerCache
from knarr.builder.cache.open import open_cache
from knarr.builder.cache.step_cache import StepCache
from knarr.builder.mounts.cache_mounts import CacheMounts
from knarr.builder.outputs.output import check_outputs, write_outputs
from knarr.builder.plan.plan import Plan
from knarr.builder.plan.resolve import resolve
from knarr.builder.plan.source import DockerfileSource, source_date_epoch
from knarr.builder.request.git_program import GitProgram
from knarr.builder.request.request import BuildRequest
from knarr.builder.request.results import BuildResult
from knarr.builder.roots.backend import Backend
from knarr.builder.roots.choose import enter_backend
from knarr.builder.run.dry_run import describe
from knarr.builder.run.executor import execute
from knarr.builder.run.tools import Cache, Tools
from knarr.builder.sources.context import read_dockerfile, read_ignore_patterns
from knarr.builder.sources.image_lookup import Lookup
from knarr.builder.sources.local_source import LocalSource
from knarr.builder.sources.remote import RemoteSources
from knarr.builder.sources.remote_auth import RemoteAuth
from knarr.builder.sources.sources import Directories
from knarr.dockerfile.language.parser import parse
from knarr.dockerfile.language.remote_sources import without_credentials
from knarr.dockerfile.syntax.frontend import frontend_warning
from knarr.images.base_images import BaseImages
from knarr.images.blobs import Blobs
from knarr.images.image import FinishedImage, Image, Layer
from knarr.images.layer_rules import LayerRules
from knarr.images.local_base_cache import BaseCache
from knarr.images.pusher import Publisher
from knarr.images.store import Store
from knarr.progress import BuiltLayer, ImageBuilt, Note, Reporter, Silent, SourceRead
from knarr.registry.client import Client
