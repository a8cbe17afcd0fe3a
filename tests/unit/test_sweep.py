"""The sweeper puts right what a crash or a lost message has left, and nothing else."""

from __future__ import annotations

from tests.support.world import DEFAULTS, World, meanwhile


class TestRemoval:
    def test_a_record_taken_over_meanwhile_keeps_its_files(self) -> None:
        world = World()
        world.submit(key="once")
        old = world.succeeded()
        world.clock.advance(DEFAULTS.retention)

        def post_and_run_again() -> None:
            world.submit(key="once")
            world.succeeded()

        artifacts = meanwhile(world.artifacts, "delete_prefix", post_and_run_again)
        assert world.sweep(artifacts=artifacts) == {"ChangedMeanwhile": 1}
        assert world.row(old.id).attempt == 2
        assert list(world.artifacts.files) == [f"jobs/{old.id}/2/0_image.png"]
