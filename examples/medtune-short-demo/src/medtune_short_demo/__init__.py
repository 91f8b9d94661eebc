"""The demo in twenty updates: a bundle that starts from another one."""

from collections.abc import Sequence

from medtune import Bundle, MedTuner, hookimpl


@hookimpl
def provide_bundles() -> Sequence[Bundle]:
    """Provide the bundle."""
    # Built from medtune's own plugins only: this function is one of those that are being asked.
    from medtune.plugins.host import create_host

    host = create_host(autoload=False)
    demo = host.find("bundle", "demo")
    tuner = MedTuner.from_bundle("demo", plugins=host, train={"max_steps": 20}, eval={"rows_per_source": 3})
    return [Bundle("short-demo", tuner.spec, summary="The demo in twenty updates.", licences=demo.licences)]
