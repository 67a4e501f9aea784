"""All peers, in the order of the tables."""

from __future__ import annotations

from bench.peers.base import Peer
from bench.peers.ftp import AioftpCurl, PyftpdlibCurl, PyftpdlibLftp, VsftpdCurl, VsftpdLftp
from bench.peers.ftransfer import Ftransfer
from bench.peers.http_server import HttpServer
from bench.peers.nginx import Nginx
from bench.peers.openssh import Scp, Sftp
from bench.peers.rclone import Rclone
from bench.peers.rsync import Rsync, RsyncSynced
from bench.peers.yardsticks import BareLoop, BareLoopHashed, Cp, CpSynced

PEERS: tuple[Peer, ...] = (
    Ftransfer(),
    Rsync(),
    Nginx(),
    VsftpdCurl(),
    VsftpdLftp(),
    PyftpdlibCurl(),
    PyftpdlibLftp(),
    AioftpCurl(),
    Scp(),
    Sftp(),
    Rclone(),
    HttpServer(),
    Cp(),
    BareLoop(),
    BareLoopHashed(),
)
# Only where it matters: on a disk.
SYNCED_PEERS: tuple[Peer, ...] = (RsyncSynced(), CpSynced())
