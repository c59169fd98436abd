"""``dockerflow version``: with real git repositories, and the environments of CIs."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dockerflow.cli import _make_version_json as maker
from dockerflow.version import KEYS, VersionError, get_version

SHA = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40


@pytest.fixture
def git(dockerflow):
    """Run git in the folder, as somebody with no settings of their own."""

    def run(*args, folder=None):
        done = subprocess.run(
            ["git", "-c", "user.name=Ann", "-c", "user.email=ann@example.com", *args],
            cwd=folder or dockerflow.folder,
            env=dockerflow.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    return run


@pytest.fixture
def repo(dockerflow, git):
    """A repository with one commit and a remote."""
    git("init", "-q", "-b", "main")
    (dockerflow.folder / "app.py").write_text("1\n")
    git("add", "app.py")
    git("commit", "-q", "-m", "First")
    git("remote", "add", "origin", "https://ann:hunter2@git.example.com/org/repo.git")
    return dockerflow.folder


def read(folder: Path):
    return json.loads((folder / "version.json").read_text(encoding="utf-8"))


# git


def test_git(dockerflow, git, repo):
    git("tag", "v1.2.0")
    result = dockerflow("version", "write")
    assert (result.code, result.err) == (0, "")
    assert result.out == "wrote version.json: v1.2.0 (from git)\n"
    assert read(repo) == {
        "source": "https://git.example.com/org/repo.git",
        "version": "v1.2.0",
        "commit": git("rev-parse", "HEAD"),
        "build": "",
    }
    assert dockerflow("version", "check").out == "version.json is valid\n"


def test_git_without_tags(dockerflow, git, repo):
    dockerflow("version", "write")
    assert read(repo)["version"] == git("describe", "--tags", "--always")
    assert read(repo)["commit"].startswith(read(repo)["version"])


def test_git_after_a_tag(dockerflow, git, repo):
    git("tag", "v1")
    git("commit", "-q", "--allow-empty", "-m", "Second")
    dockerflow("version", "write")
    assert read(repo)["version"] == git("describe", "--tags", "--always")
    assert read(repo)["version"].startswith("v1-1-g")


def test_git_dirty(dockerflow, git, repo):
    (repo / "untracked").touch()
    dockerflow("version", "write")
    assert not read(repo)["version"].endswith("-dirty"), "untracked files are no change"
    git("add", "version.json")
    git("commit", "-q", "-m", "Our own file")
    for _ in range(2):
        dockerflow("version", "write")
        assert not read(repo)["version"].endswith("-dirty"), "our own file is no change of the app"
    (repo / "app.py").write_text("2\n")
    dockerflow("version", "write")
    assert read(repo)["version"] == git("describe", "--tags", "--always") + "-dirty"


def test_git_from_a_folder_in_the_checkout(dockerflow, git, repo):
    (repo / "app.py").write_text("2\n")
    dockerflow.folder = repo / "sub"
    dockerflow.folder.mkdir()
    assert dockerflow("version", "write", "..").code == 0
    assert read(repo)["commit"] == git("rev-parse", "HEAD")
    assert read(repo)["version"].endswith("-dirty")


def test_git_detached(dockerflow, git, repo):
    git("checkout", "-q", "--detach")
    assert dockerflow("version", "write").code == 0
    assert read(repo)["commit"] == git("rev-parse", "HEAD")


def test_git_shallow(dockerflow, git, repo):
    git("tag", "v1")
    git("commit", "-q", "--allow-empty", "-m", "Second")
    git("clone", "-q", "--depth", "1", "--no-tags", repo.as_uri(), "clone")
    dockerflow.folder = repo / "clone"
    assert dockerflow("version", "write").code == 0
    content = read(dockerflow.folder)
    assert content["commit"] == git("rev-parse", "HEAD")
    assert content["commit"].startswith(content["version"])


def test_git_worktree_and_submodule(dockerflow, git, repo):
    """There .git is a file."""
    git("worktree", "add", "-q", "--detach", "tree")
    git("-c", "protocol.file.allow=always", "submodule", "add", "-q", repo.as_uri(), "module")
    for name in ("tree", "module"):
        dockerflow.folder = repo / name
        assert (dockerflow.folder / ".git").is_file()
        assert dockerflow("version", "write").code == 0
        assert read(dockerflow.folder)["commit"] == git("rev-parse", "HEAD")


def test_git_unicode(dockerflow, git, repo):
    git("tag", "v1-é-日本")
    git("remote", "set-url", "origin", "https://git.example.com/org/é")
    assert dockerflow("version", "write").out == "wrote version.json: v1-é-日本 (from git)\n"
    assert read(repo)["version"] == "v1-é-日本"
    assert "é-日本" in (repo / "version.json").read_text(encoding="utf-8"), "readable"
    assert dockerflow.process("version", "show", LC_ALL="C", PYTHONCOERCECLOCALE="0").code == 0


def test_git_without_a_remote(dockerflow, git, repo):
    git("remote", "remove", "origin")
    assert dockerflow("version", "write").code == 0
    assert read(repo)["source"] == ""
    assert dockerflow("version", "check").code == 0
    git("remote", "add", "origin", str(repo))
    dockerflow("version", "write")
    assert read(repo)["source"] == "", "a folder of this machine is no source"


def test_no_commit_yet(dockerflow, git):
    git("init", "-q")
    result = dockerflow("version", "write")
    assert result.code == 2
    assert result.error.startswith(
        "dockerflow: no commit was found in the arguments, the environment"
    )
    assert result.error.endswith("; give --commit")
    assert not (dockerflow.folder / "version.json").exists()


def test_no_checkout(dockerflow):
    result = dockerflow("version", "write", GIT_CEILING_DIRECTORIES=str(dockerflow.folder.parent))
    assert result.code == 2
    assert "not a git repository" in result.error


def test_no_git(dockerflow):
    result = dockerflow("version", "write", PATH="/nowhere")
    assert result.code == 2
    assert result.error.endswith("(git is not installed); give --commit")
    result = dockerflow("version", "write", "--commit", SHA, PATH="/nowhere")
    assert (result.code, result.out) == (0, f"wrote version.json: {SHA} (from arguments)\n")
    result = dockerflow("version", "write", PATH="/nowhere", DOCKERFLOW_COMMIT=SHA)
    assert result.out == f"wrote version.json: {SHA} (from environment)\n"


# CIs

GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "org/repo",
    "GITHUB_REF_NAME": "v1.2.3",
    "GITHUB_SHA": SHA,
    "GITHUB_RUN_ID": "77",
}
CIRCLECI = {
    "CIRCLECI": "true",
    "CIRCLE_PROJECT_USERNAME": "org",
    "CIRCLE_PROJECT_REPONAME": "repo",
    "CIRCLE_REPOSITORY_URL": "git@github.com:org/repo.git",
    "CIRCLE_TAG": "v1.2.3",
    "CIRCLE_SHA1": SHA,
    "CIRCLE_BUILD_URL": "https://circleci.com/gh/org/repo/77",
}
BITBUCKET = CIRCLECI | {"CIRCLE_REPOSITORY_URL": "git@bitbucket.org:org/repo.git"}
GITLAB = {
    "GITLAB_CI": "true",
    "CI_PROJECT_URL": "https://gitlab.com/org/repo",
    "CI_COMMIT_TAG": "v1.2.3",
    "CI_COMMIT_REF_NAME": "v1.2.3",
    "CI_COMMIT_SHA": SHA,
    "CI_JOB_URL": "https://gitlab.com/org/repo/-/jobs/77",
    "CI_PIPELINE_URL": "https://gitlab.com/org/repo/-/pipelines/7",
}
TASKCLUSTER = {
    "TASK_ID": "abc",
    "TASKCLUSTER_ROOT_URL": "https://tc.example.com/",
    "VPN_HEAD_REPOSITORY": "https://github.com/org/repo",
    "VPN_HEAD_TAG": "v1.2.3",
    "VPN_HEAD_REV": SHA,
    "APP_VERSION": "9",
}
HUB = "https://github.com/org/repo"
CIS = {
    "github": (GITHUB, HUB, "https://github.com/org/repo/actions/runs/77"),
    "circleci": (CIRCLECI, HUB, "https://circleci.com/gh/org/repo/77"),
    "bitbucket": (
        BITBUCKET,
        "https://bitbucket.org/org/repo.git",
        "https://circleci.com/gh/org/repo/77",
    ),
    "gitlab": (GITLAB, "https://gitlab.com/org/repo", "https://gitlab.com/org/repo/-/jobs/77"),
    "taskcluster": (TASKCLUSTER, HUB, "https://tc.example.com/tasks/abc"),
}


@pytest.mark.parametrize("name", CIS)
def test_ci(dockerflow, name):
    env, source, build = CIS[name]
    result = dockerflow("version", "write", **env)
    assert (result.code, result.err) == (0, ""), result
    origin = "circleci" if name == "bitbucket" else name
    assert result.out == f"wrote version.json: v1.2.3 (from {origin})\n"
    assert read(dockerflow.folder) == {
        "source": source,
        "version": "v1.2.3",
        "commit": SHA,
        "build": build,
    }
    assert dockerflow("version", "check").code == 0


@pytest.mark.parametrize("name", CIS)
def test_the_marker_is_not_needed(name):
    """In a Dockerfile one passes on what one needs."""
    env = {
        k: v
        for k, v in CIS[name][0].items()
        if k not in ("GITHUB_ACTIONS", "CIRCLECI", "GITLAB_CI")
    }
    assert maker.detect(env) == ("circleci" if name == "bitbucket" else name)


def test_versions_where_there_is_no_tag(tmp_path):
    def version(origin, **changes):
        env = {key: value for key, value in (CIS[origin][0] | changes).items() if value}
        return maker.gather({}, origin, env=env, folder=tmp_path)[0]["version"]

    assert version("circleci", CIRCLE_TAG="") == ""
    assert version("gitlab", CI_COMMIT_TAG="", CI_COMMIT_REF_NAME="main") == "main"
    assert version("taskcluster", VPN_HEAD_TAG="") == "9"


def test_git_fills_in_for_the_same_commit_only(dockerflow, git, repo):
    git("tag", "v9")
    env = CIRCLECI | {"CIRCLE_TAG": "", "CIRCLE_SHA1": git("rev-parse", "HEAD")}
    dockerflow("version", "write", **env)
    assert read(repo)["version"] == "v9"
    dockerflow("version", "write", **env | {"CIRCLE_SHA1": SHA})
    assert read(repo)["version"] == ""


def test_order(dockerflow, repo):
    """Options, then DOCKERFLOW_ variables, then the CI; what is empty doesn't count."""
    env = GITHUB | {
        "DOCKERFLOW_VERSION": "from arg",
        "DOCKERFLOW_BUILD": "",
        "DOCKERFLOW_COMMIT": "",
    }
    dockerflow(
        "version", "write", "--commit", OTHER, "--source", "", "--build", "https://x/1", **env
    )
    assert read(repo) == {
        "source": HUB,
        "version": "from arg",
        "commit": OTHER,
        "build": "https://x/1",
    }


def test_build_arguments_alone(dockerflow):
    env = {"SOURCE": "https://x/y", "VERSION": "1", "COMMIT": SHA, "BUILD": "https://x/1"}
    env = {f"DOCKERFLOW_{name}": value for name, value in env.items()}
    assert dockerflow("version", "write", PATH="/nowhere", **env).code == 0
    assert [*read(dockerflow.folder).values()] == [*env.values()]


def test_from(dockerflow, git, repo):
    dockerflow("version", "write", "--from", "git", **GITHUB)
    assert read(repo)["commit"] == git("rev-parse", "HEAD")
    dockerflow("version", "write", "--from", "gitlab", **GITHUB, **GITLAB)
    assert read(repo)["source"] == "https://gitlab.com/org/repo"


def test_taskcluster_with_several_repositories(tmp_path):
    env = TASKCLUSTER | {"GECKO_HEAD_REV": OTHER}
    with pytest.raises(VersionError, match=r"\(GECKO_HEAD_REV, VPN_HEAD_REV\): give --source"):
        maker.gather({}, "taskcluster", env=env, folder=tmp_path)
    given = {"source": "https://x/y", "version": "1", "commit": SHA, "build": "https://x/1"}
    assert maker.gather(given, "taskcluster", env=env, folder=tmp_path)[0] == given


# The file


def test_other_keys_stay(dockerflow):
    file = dockerflow.folder / "version.json"
    file.write_text('{"config": {"a": [1, null]}, "commit": "old", "version": "old", "z": "1"}')
    dockerflow("version", "write", "--set", "z=2", "--set", 'é="\n\\=', "--commit", SHA)
    content = read(dockerflow.folder)
    assert [*content] == ["source", "version", "commit", "build", "config", "z", "é"]
    assert content["version"] == "", "the values of another build are not those of this one"
    assert (content["commit"], content["config"]) == (SHA, {"a": [1, None]})
    assert (content["z"], content["é"]) == ("2", '"\n\\=')
    dockerflow("version", "write", "--commit", SHA, "--replace")
    assert {*read(dockerflow.folder)} == {*KEYS}


def test_source_of_the_file_stays_where_none_is_known(dockerflow):
    file = dockerflow.folder / "version.json"
    file.write_text('{"source": "https://u:p@x/y"}')
    dockerflow("version", "write", "--commit", SHA)
    assert read(dockerflow.folder)["source"] == "https://x/y"


@pytest.mark.parametrize("broken", ["{", "[]", "", '{"a": NaN}'])
def test_broken_file_is_not_lost(dockerflow, broken):
    file = dockerflow.folder / "version.json"
    file.write_text(broken)
    result = dockerflow("version", "write", "--commit", SHA)
    assert result.code == 2
    assert result.error.startswith("dockerflow: version.json ")
    assert result.error.endswith("; --replace discards that file")
    assert file.read_text() == broken
    assert dockerflow("version", "write", "--commit", SHA, "--replace").code == 0


@pytest.mark.parametrize("item", ["x", "=x", "commit=1"])
def test_wrong_set(dockerflow, item):
    result = dockerflow("version", "write", "--commit", SHA, "--set", item)
    assert result.code == 2
    assert "--set" in result.error


def test_path(dockerflow):
    (dockerflow.folder / "app").mkdir()
    dockerflow("version", "write", "app", "--commit", SHA)
    dockerflow("version", "write", "build.json", "--commit", SHA)
    assert (dockerflow.folder / "app/version.json").is_file()
    assert (dockerflow.folder / "build.json").is_file()
    result = dockerflow("version", "write", "-", "--commit", SHA)
    assert json.loads(result.out)["commit"] == SHA
    assert not (dockerflow.folder / "-").exists()
    result = dockerflow("version", "write", "no/folder/here.json", "--commit", SHA)
    assert result.code == 2
    assert result.error.endswith("here.json can't be written: No such file or directory")


def test_mode_and_links(dockerflow):
    real, link = dockerflow.folder / "real.json", dockerflow.folder / "version.json"
    link.symlink_to(real)
    dockerflow("version", "write", "--commit", SHA)
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o644, "the app may run as another user"
    real.chmod(0o640)
    dockerflow("version", "write", "--commit", SHA)
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert {path.name for path in dockerflow.folder.iterdir()} == {"real.json", "version.json"}


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "version.json"
    file.write_text("old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(VersionError, match="can't be written: No space left on device"):
        maker.write(file, {})
    assert [path.name for path in tmp_path.iterdir()] == ["version.json"]
    assert file.read_text() == "old"


# Any values

ENV_TEXT = st.text(st.characters(exclude_characters="\0"), max_size=30) | st.text(
    st.sampled_from("\n\"\\{},:@/é\udc80 '$\u2028"), max_size=12
)


@settings(deadline=None)  # it runs git
@given(
    name=st.sampled_from(["github", "circleci", "gitlab", "taskcluster"]),
    values=st.lists(ENV_TEXT, min_size=7, max_size=7),
    extra=st.dictionaries(ENV_TEXT.filter(bool), ENV_TEXT, max_size=3),
)
def test_any_environment_gives_a_valid_file(name, values, extra, tmp_path_factory):
    env = dict(zip(CIS[name][0], values, strict=False))
    extra = {maker._tidy(key): value for key, value in extra.items() if key not in KEYS}
    file = tmp_path_factory.getbasetemp() / "any.json"
    try:
        gathered, *_ = maker.gather({"commit": SHA}, name, env=env, folder=Path("/"))
    except VersionError:
        assert name == "taskcluster", "which may have several repositories"
        return
    content = maker.merge(None, gathered, extra)
    maker.write(file, content)
    read_back = get_version(file)
    assert read_back == json.loads(json.dumps(content))
    assert [*read_back][:4] == ["source", "version", "commit", "build"]
    assert all(isinstance(value, str) for value in read_back.values())
    assert read_back["commit"] == SHA
    for problem in maker.problems(read_back):
        assert "control characters" in problem, "all that is left to complain of"


def test_hostile_values_stay_values(dockerflow):
    version = 'v1",\n"commit": "evil\\'
    env = GITHUB | {"GITHUB_REF_NAME": version}
    result = dockerflow("version", "write", **env)
    assert result.code == 0
    assert result.error == "dockerflow version: note: version has control characters"
    assert result.out.count("\n") == 1
    assert read(dockerflow.folder)["version"] == version
    assert read(dockerflow.folder)["commit"] == SHA


def test_bytes_that_are_no_utf_8(dockerflow):
    code = (
        "import os, subprocess, sys\n"
        f"env = {{**os.environb, b'GITHUB_SHA': b'{SHA}', b'GITHUB_REF_NAME': b'v1\\xff'}}\n"
        "sys.exit(subprocess.run([sys.executable, '-m', 'dockerflow', 'version', 'write'],"
        " env=env).returncode)"
    )
    assert dockerflow.python(code).code == 0
    assert read(dockerflow.folder)["version"].startswith("v1")


# URLs

CLEANED = {
    "https://github.com/org/repo": "https://github.com/org/repo",
    "https://user@github.com/org/repo.git": "https://github.com/org/repo.git",
    "https://user:hunter2@github.com/org/repo": "https://github.com/org/repo",
    "https://x-access-token:hunter2@github.com/org/repo": "https://github.com/org/repo",
    "https://:hunter2@github.com:8443/org/repo": "https://github.com:8443/org/repo",
    "https://a@b:hunter2@github.com/org": "https://github.com/org",
    "https://user:hun/ter2@github.com/org": "https://github.com/org",
    "https://user:hun#ter2@github.com/org": "https://github.com/org",
    "https://user:hun?ter2@github.com/org": "https://github.com/org",
    "https://github.com/@org/repo": "https://github.com/@org/repo",
    "https://github.com:8443/@org/repo": "https://github.com:8443/@org/repo",
    "https://[::1]:8443/@org/repo": "https://[::1]:8443/@org/repo",
    "https://x/y?job=1&private_token=hunter2&a=b": "https://x/y?job=1&a=b",
    "https://x/y?access_token=hunter2": "https://x/y",
    "https://x/y?job=1&&b": "https://x/y?job=1&&b",
    "https://x/y#access_token=hunter2": "https://x/y",
    "git@github.com:org/repo.git": "https://github.com/org/repo.git",
    "github.com:org/repo.git": "https://github.com/org/repo.git",
    "git@github.com:/org/repo": "https://github.com/org/repo",
    "ssh://git@github.com/org/repo": "https://github.com/org/repo",
    "ssh://git:hunter2@github.com:2222/org/repo": "https://github.com/org/repo",
    "git+ssh://git@github.com/org/repo": "https://github.com/org/repo",
    "SSH://git@github.com/org/repo": "https://github.com/org/repo",
    "/srv/git/repo.git": "",
    "../repo": "",
    "file:///srv/git/repo": "",
    "C:\\repo": "",
    "https://": "",
    "hunter2@": "",
    "https://a@b:c/d@e": "https://e",
    "": "",
}


@pytest.mark.parametrize("url", CLEANED)
def test_clean_url(url):
    assert maker.clean_url(url) == CLEANED[url]
    assert maker.clean_url(CLEANED[url]) == CLEANED[url]


@given(
    user=st.text(st.sampled_from("abc.%40é"), max_size=5),
    password=st.text(st.sampled_from("XYZ:@!$&=+,;%'\"\\ "), min_size=1).map("hunter2{}".format),
    scheme=st.sampled_from(["https", "http", "ssh", "git", "hg+https"]),
    path=st.sampled_from(["", "/", "/org/repo", "/@org/x?a=b", "/#x"]),
)
def test_no_password_is_left(user, password, scheme, path):
    cleaned = maker.clean_url(f"{scheme}://{user}:{password}@example.com{path}")
    assert "hunter2" not in cleaned
    assert cleaned.partition("://")[2].startswith("example.com")


def test_given_urls_are_cleaned_too(dockerflow):
    url = "https://ann:hunter2@x/y"
    result = dockerflow("version", "write", "--source", url, "--build", url, "--commit", SHA)
    assert "hunter2" not in repr(result)
    content = read(dockerflow.folder)
    assert content["source"] == content["build"] == "https://x/y"
    result = dockerflow("version", "write", "--source", "no url", "--commit", SHA)
    assert result.code == 0
    assert "note: source is left empty" in result.error


# check and show

GOOD = {"source": "https://x/y", "version": "1", "commit": SHA, "build": "https://x/1"}
WRONG = {
    "missing": ({"version": ...}, "version is missing"),
    "null": ({"version": None}, "version must be a string, not null"),
    "number": ({"commit": 12}, "commit must be a string, not 12"),
    "object": ({"build": {"a": "x" * 500}}, "build must be a string, not {"),
    "commit": ({"commit": "abc"}, 'commit must be a git hash, not "abc"'),
    "no commit": ({"commit": ""}, 'commit must be a git hash, not ""'),
    "password": ({"source": "https://u:hunter2@x/y"}, "source has credentials"),
    "ssh": ({"source": "ssh://git@x/y"}, "source has credentials, or is an ssh address"),
    "scp": ({"source": "git@github.com:org/repo"}, "source is not a URL"),
    "token": ({"build": "https://x/y?token=hunter2"}, "build has credentials"),
    "no URL": ({"build": "7"}, "build is not a URL"),
    "control": ({"version": "1\n"}, "version has control characters"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_check(dockerflow, kind):
    changes, problem = WRONG[kind]
    content = {key: value for key, value in (GOOD | changes).items() if value is not ...}
    (dockerflow.folder / "version.json").write_text(json.dumps(content))
    result = dockerflow("version", "check")
    assert (result.code, result.out) == (1, "")
    assert result.error.startswith(problem)
    assert "hunter2" not in result.err
    assert len(result.err) < 200


@pytest.mark.parametrize(
    "changes",
    [{}, {"version": "", "build": "", "source": ""}, {"more": [1]}, {"source": "https://x/y?a#b"}],
    ids=str,
)
def test_check_of_a_good_one(dockerflow, changes):
    (dockerflow.folder / "version.json").write_text(json.dumps(GOOD | changes))
    result = dockerflow("version", "check", ".")
    assert (result.code, result.out, result.err) == (0, "version.json is valid\n", "")


def test_check_tells_everything(dockerflow):
    (dockerflow.folder / "version.json").write_text("{}")
    result = dockerflow("version", "check")
    assert result.code == 1
    assert result.err.splitlines() == [f"{key} is missing" for key in KEYS]


@pytest.mark.parametrize("command", ["check", "show"])
def test_missing_or_broken(dockerflow, command):
    result = dockerflow("version", command, "here.json")
    assert (result.code, result.error) == (2, "dockerflow: there is no here.json")
    result = dockerflow("version", command, "/dev/null")
    assert (result.code, result.error) == (
        2, "dockerflow: null can't be read: not a regular file"
    )  # fmt: skip
    (dockerflow.folder / "here.json").write_text("{")
    result = dockerflow("version", command, "here.json")
    assert result.code == 1
    assert result.error.startswith("dockerflow: here.json is not valid JSON: ")


def test_show(dockerflow):
    folder = dockerflow.folder / "elsewhere"
    folder.mkdir()
    (folder / "version.json").write_text(json.dumps(GOOD | {"é": "\ud800"}))
    result = dockerflow("version", "show", DOCKERFLOW_VERSION_PATH=str(folder))
    assert (result.code, result.err) == (0, "")
    assert json.loads(result.out) == GOOD | {"é": "?"}
    result = dockerflow("version", "show", "--release", str(folder))
    assert (result.code, result.out) == (0, "1\n")
    hostile = "1\u202e\u009b31m\x7f\U000e0001"
    (folder / "version.json").write_text(json.dumps(GOOD | {"version": hostile}))
    result = dockerflow("version", "show", str(folder))
    assert json.loads(result.out)["version"] == hostile
    assert result.out.replace("\n", "").isprintable()
    result = dockerflow("version", "show", "--release", str(folder))
    assert not set(result.out) & set(hostile[1:-1].replace("31m", ""))
    (folder / "version.json").write_text("{}")
    result = dockerflow("version", "show", "--release", str(folder))
    assert result.code == 1
    assert "neither a version nor a commit" in result.error


def test_wrong_setting(dockerflow):
    result = dockerflow("version", "show", DOCKERFLOW_CHECK_TIMEOUT="abc")
    assert result.code == 2
    assert "DOCKERFLOW_CHECK_TIMEOUT" in result.error
