"""What is known about base images: Docker's official ones have no user, group or folder ``app``."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from dockerflow.verify.shell import UNKNOWN, is_known


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Names in github.com/docker-library/official-images, also of those that are deprecated.
_OFFICIAL: Final = _names("""
    adminer aerospike almalinux alpine amazoncorretto amazonlinux api-firewall arangodb archlinux
    backdrop bash bonita buildpack-deps busybox caddy cassandra centos chronograf cirros clearlinux
    clefos clickhouse clojure consul convertigo couchbase couchdb crate dart debian docker
    drupal eclipse-mosquitto eclipse-temurin eggdrop elasticsearch elixir emqx erlang fedora flink
    fluentd friendica gazebo gcc geonetwork ghost golang gradle groovy haproxy haskell haxe
    hello-world hitch httpd hylang ibmjava ibm-semeru-runtimes influxdb iojs irssi java jenkins
    jetty joomla jruby julia kapacitor kibana kong krakend lightstreamer liquibase logstash mageia
    mariadb matomo maven mediawiki memcached mongo mongo-express monica mono mysql nats neo4j
    neurodebian nextcloud nginx nim node notary odoo open-liberty openjdk oraclelinux orientdb
    percona perl photon php phpmyadmin plone postfixadmin postgres pypy python
    r-base rabbitmq rails rakudo-star redis redmine registry rethinkdb rockylinux ros ruby rust
    sapmachine satosa silverpeas sl solr sonarqube spark spiped storm swift swipl teamspeak
    telegraf tomcat tomee traefik ubuntu unit valkey varnish vault websphere-liberty wordpress
    xwiki yourls znc zookeeper
""")
# Those of them that are known to have no ENTRYPOINT.
_WITHOUT_ENTRYPOINT: Final = _names("""
    almalinux alpine amazoncorretto amazonlinux archlinux buildpack-deps busybox centos
    debian elixir erlang fedora gcc golang haskell httpd openjdk oraclelinux perl photon pypy
    python r-base rockylinux ruby rust swift ubuntu
""")
_ALPINE: Final = frozenset({"alpine", "busybox"})
_FEDORA: Final = _names("almalinux amazonlinux amazoncorretto centos fedora oraclelinux rockylinux")
_DEBIAN: Final = _names("""
    buildpack-deps clojure debian elixir erlang gcc golang haskell httpd julia node openjdk perl
    php pypy python r-base ruby rust ubuntu
""")
# Those that are known to have no WORKDIR, or another one than /.
_AT_ROOT: Final = _names("""
    almalinux alpine amazoncorretto amazonlinux archlinux bash buildpack-deps busybox centos debian
    eclipse-temurin elixir erlang fedora gcc nginx node openjdk oraclelinux pypy python rockylinux
    ruby rust swift ubuntu
""")
_FOLDERS: Final = {
    "golang": "/go",
    "httpd": "/usr/local/apache2",
    "php": "/var/www/html",
    "tomcat": "/usr/local/tomcat",
}
_REGISTRIES: Final = re.compile(
    r"^(?:(?:docker\.io|index\.docker\.io|registry-1\.docker\.io|mirror\.gcr\.io)/(?:library/)?"
    r"|library/|public\.ecr\.aws/docker/library/)"
)
_parts = re.compile(rf"([a-z0-9._/-]+?)(?::([\w.{UNKNOWN}-]+))?(?:@sha256:\w+)?").fullmatch
_is_debian = re.compile(
    "slim|jessie|stretch|buster|bullseye|bookworm|trixie|focal|jammy|noble"
).search


class Base(NamedTuple):
    """A base image, as far as its name tells."""

    name: str
    is_known: bool = False
    """Whether it certainly has no user, group or folder app."""
    family: str = ""
    """Whose commands it has: debian, alpine or fedora; empty if that isn't known."""
    may_have_entrypoint: bool = True
    folder: str = ""
    """Its WORKDIR; empty if that isn't known."""


def base(image: str) -> Base:
    """Return what the name of an image tells."""
    if image == "scratch":
        return Base(image, is_known=True, may_have_entrypoint=False, folder="/")
    match = _parts(_REGISTRIES.sub("", image))
    if match is None:
        return Base(image)
    name, tag = match[1], match[2] or ""
    if name.startswith("gcr.io/distroless/"):
        plain = re.fullmatch(r"(?:static|base|base-nossl|cc)(?:-debian\d+)?", name.split("/")[-1])
        folder = "" if "nonroot" in image else "/"
        return Base(image, is_known=True, may_have_entrypoint=plain is None, folder=folder)
    if name not in _OFFICIAL or "onbuild" in tag:
        return Base(image)
    if name in _ALPINE or "alpine" in tag:
        family = "alpine"
    elif name in _FEDORA:
        family = "fedora"
    elif not is_known(tag) and name not in ("debian", "ubuntu") and not _is_debian(tag):
        family = ""  # the tag may be Alpine's
    elif name in _DEBIAN and not re.search("windows|nanoserver|oracle", tag):
        family = "debian"
    else:
        family = ""
    folder = "/" if name in _AT_ROOT else _FOLDERS.get(name, "")
    if name == "php" and is_known(tag) and not re.search("apache|fpm", tag):
        folder = "/"  # its command line has none
    return Base(
        image,
        is_known=True,
        family=family,
        may_have_entrypoint=name not in _WITHOUT_ENTRYPOINT,
        folder=folder,
    )
