"""Programs are run from where another user can reach them."""

from pathlib import Path

from tools.local.unprivileged import reachable_copy


def test_programs_behind_a_link_in_a_private_folder_are_run_from_their_real_folder(
    tmp_path: Path,
) -> None:
    real = Path("/usr")
    link = tmp_path / "site-packages"
    link.symlink_to(real)

    assert reachable_copy([link / "lib"], tmp_path, 65534) == real
