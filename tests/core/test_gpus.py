"""Every GPU followed from the bus to torch: who is who in each layer, and what hides one."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from envdoctor.api import (
    Container,
    CudaInit,
    Driver,
    Environment,
    Fact,
    Gpu,
    Gpus,
    Nvml,
    Observed,
    PciDevice,
    PciGpus,
    Snapshot,
    TorchDevice,
    TorchRuntime,
    UnansweredGpu,
)
from envdoctor.engine import derive_facts
from envdoctor.facts.derived import DriverRelease, GpuTrace
from envdoctor.gpus import driver_release, gpu_trace
from envdoctor.knowledge import Knowledge, load

A100 = ("20b2", "NVIDIA A100-SXM4-80GB", "8.0")
RTX_3090 = ("2204", "NVIDIA GeForce RTX 3090", "8.6")
GTX_1080_TI = ("1b06", "NVIDIA GeForce GTX 1080 Ti", "6.1")
GT_710M = ("1140", "NVIDIA GeForce GT 710M", "2.1")
"""PCI device id (pci.ids), name, compute capability (developer.nvidia.com/cuda-gpus)."""

Model = tuple[str, str, str]
SERVICES = {Knowledge: load()}


def address(place: int) -> str:
    return f"0000:{place + 1:02x}:00.0"


def uuid(number: int) -> str:
    return f"{number:08x}-0000-0000-0000-000000000000"


def bus(*models: Model, drivers: Mapping[int, str | None] | None = None) -> PciGpus:
    held = dict.fromkeys(range(len(models)), "nvidia") | dict(drivers or {})
    return PciGpus(
        devices=tuple(
            PciDevice(
                address=address(place), vendor_id="10de", device_id=model[0], driver=held[place]
            )
            for place, model in enumerate(models)
        )
    )


def nvml_gpu(index: int, model: Model, place: int | None = None, **more: Any) -> Gpu:
    """As NVML says it: the domain of the PCI address with eight digits, in capitals."""
    where = f"0000{address(place).upper()}" if place is not None else None
    return Gpu(index=index, name=model[1], compute_capability=model[2], pci_address=where, **more)


def listed(*models: Model) -> Gpus:
    """NVML lists every GPU, in the order of the bus."""
    return Gpus(
        devices=tuple(
            nvml_gpu(number, model, number, uuid=f"GPU-{uuid(number)}")
            for number, model in enumerate(models)
        )
    )


def device(index: int, model: Model, **more: Any) -> TorchDevice:
    return TorchDevice(
        index=index, name=model[1], compute_capability=model[2], memory_bytes=2**34, **more
    )


def torch_lists(*devices: TorchDevice) -> TorchRuntime:
    return TorchRuntime(
        version="2.6.0+cu124",
        cuda="12.4",
        hip=None,
        cuda_available=bool(devices),
        device_count=len(devices),
        devices=devices,
    )


def nodes(*numbers: int, closed: Sequence[int] = (), **more: Any) -> Driver:
    """A loaded driver and the nodes of some GPUs, of which this user may not open all."""
    return Driver(
        loaded=True,
        release="550.54.15",
        device_nodes=(
            "/dev/nvidia-uvm",
            *(f"/dev/nvidia{one}" for one in numbers),
            "/dev/nvidiactl",
        ),
        unusable_nodes=tuple(f"/dev/nvidia{one}" for one in closed),
        **more,
    )


def visible_devices(value: str) -> Environment:
    return Environment(variables={"CUDA_VISIBLE_DEVICES": value})


def of(*facts: Fact) -> Snapshot:
    return Snapshot({type(fact): Observed(value=fact, source="test") for fact in facts})


def traced(*facts: Fact) -> GpuTrace:
    trace = derive_facts([gpu_trace], of(*facts), SERVICES).value(GpuTrace)
    assert trace is not None
    return trace


def layers(trace: GpuTrace) -> list[tuple[str, int | None, int | None]]:
    """Each GPU: its subject, what NVML and what torch calls it."""
    return [(gpu.subject, gpu.nvml_index, gpu.torch_index) for gpu in trace.gpus]


def subjects(trace: GpuTrace) -> list[str]:
    return [gpu.subject for gpu in trace.visible]


def reasons(trace: GpuTrace) -> list[str]:
    return [gpu.unwanted for gpu in trace.gpus]


DOCKER = Container(kind="docker", evidence="/.dockerenv")


# --- who is who ---


def test_a_gpu_is_one_in_all_layers() -> None:
    trace = traced(bus(A100), listed(A100), torch_lists(device(0, A100)), nodes(0))
    (gpu,) = trace.gpus
    assert (gpu.subject, gpu.name, gpu.compute_capability) == ("gpu:0", A100[1], "8.0")
    assert (gpu.pci_address, gpu.architecture) == (address(0), "Ampere")
    assert (trace.bus, trace.driver, trace.nvml, trace.torch) == (1, 1, 1, 1)
    assert trace.lost_at is None


def test_nvml_is_matched_to_the_bus_by_the_address() -> None:
    """The second of three on the bus is held by another driver, so NVML counts 0 and 1."""
    gpus = Gpus(devices=(nvml_gpu(0, A100, 0), nvml_gpu(1, RTX_3090, 2)))
    trace = traced(bus(A100, A100, RTX_3090, drivers={1: "vfio-pci"}), gpus)
    assert [(gpu.pci_address, gpu.nvml_index) for gpu in trace.gpus] == [
        (address(0), 0),
        (address(1), None),
        (address(2), 1),
    ]


def test_without_addresses_nvml_counts_those_that_the_driver_holds() -> None:
    gpus = Gpus(devices=(nvml_gpu(0, RTX_3090), nvml_gpu(1, RTX_3090)))
    trace = traced(bus(A100, RTX_3090, RTX_3090, drivers={0: "vfio-pci"}), gpus)
    assert [gpu.nvml_index for gpu in trace.gpus] == [None, 0, 1]


def test_torch_is_matched_by_the_uuid_before_the_order() -> None:
    seen = torch_lists(device(0, A100, uuid=uuid(1)), device(1, A100, uuid=uuid(0)))
    trace = traced(bus(A100, A100), listed(A100, A100), seen)
    assert layers(trace) == [("gpu:0", 0, 1), ("gpu:1", 1, 0)]


def test_torch_counts_the_fastest_first_and_is_matched_by_the_name() -> None:
    seen = torch_lists(device(0, RTX_3090), device(1, GTX_1080_TI))
    trace = traced(bus(GTX_1080_TI, RTX_3090), listed(GTX_1080_TI, RTX_3090), seen)
    assert layers(trace) == [("gpu:0", 0, 1), ("gpu:1", 1, 0)]


def test_equal_gpus_without_uuid_are_matched_in_their_order() -> None:
    seen = torch_lists(device(0, A100), device(1, A100))
    trace = traced(bus(A100, A100), listed(A100, A100), seen)
    assert layers(trace) == [("gpu:0", 0, 0), ("gpu:1", 1, 1)]


def test_of_equal_gpus_the_one_that_the_variable_names_is_taken() -> None:
    seen = torch_lists(device(0, A100))
    trace = traced(bus(A100, A100), listed(A100, A100), seen, visible_devices("1"))
    assert layers(trace) == [("gpu:0", 0, None), ("gpu:1", 1, 0)]
    assert subjects(trace) == ["gpu:1"]


def test_a_name_that_torch_writes_otherwise_is_no_second_gpu() -> None:
    other = TorchDevice(index=0, name="Graphics Device", compute_capability="8.0", memory_bytes=1)
    trace = traced(bus(A100), listed(A100), torch_lists(other))
    assert layers(trace) == [("gpu:0", 0, 0)]


def test_without_nvml_the_chip_of_the_device_id_tells() -> None:
    seen = torch_lists(device(0, RTX_3090), device(1, GTX_1080_TI))
    trace = traced(bus(GTX_1080_TI, RTX_3090), seen)
    assert [(gpu.pci_address, gpu.torch_index) for gpu in trace.gpus] == [
        (address(0), 1),
        (address(1), 0),
    ]
    assert [gpu.subject for gpu in trace.gpus] == ["gpu:1", "gpu:0"]


def test_a_gpu_that_torch_counts_and_does_not_describe_is_in_torch() -> None:
    counted = replace(torch_lists(device(1, A100)), device_count=3)
    trace = traced(bus(A100, A100), listed(A100, A100), counted)
    assert layers(trace) == [("gpu:0", 0, 1), ("gpu:1", 1, 0), ("gpu:cuda:2", None, 2)]
    assert trace.lost_at == "nvml"


def test_a_slice_of_a_gpu_is_that_gpu() -> None:
    part = TorchDevice(
        index=0,
        name=f"{A100[1]} MIG 1g.10gb",
        compute_capability="8.0",
        memory_bytes=2**33,
        uuid="MIG-1",
    )
    trace = traced(bus(A100), listed(A100), torch_lists(part))
    assert layers(trace) == [("gpu:0", 0, 0)]


def test_a_gpu_that_no_layer_but_torch_shows_is_named_by_torch() -> None:
    radeon = TorchDevice(index=0, name="AMD Radeon", compute_capability="11.0", memory_bytes=1)
    assert layers(traced(PciGpus(devices=()), torch_lists(radeon))) == [("gpu:0", None, 0)]


def test_a_gpu_that_only_the_bus_shows_is_named_by_its_address() -> None:
    trace = traced(bus(A100, drivers={0: None}))
    assert subjects(trace) == [f"gpu:{address(0)}"]
    assert trace.gpus[0].described == "NVIDIA device 20b2"


def test_no_two_gpus_have_one_name() -> None:
    silent = Nvml(status="ok", device_count=2, unanswered=(UnansweredGpu(index=0, error="E"),))
    gpus = Gpus(devices=(nvml_gpu(1, A100),))
    assert subjects(traced(gpus, silent)) == ["gpu:1", "gpu:0"]


# --- where one is lost ---


@pytest.mark.parametrize(
    ("facts", "where"),
    [
        (
            (bus(A100, A100), listed(A100, A100), torch_lists(*(device(n, A100) for n in (0, 1)))),
            None,
        ),
        (
            (bus(A100, A100, drivers={1: None}), listed(A100), torch_lists(device(0, A100))),
            "driver",
        ),
        ((bus(A100, A100), listed(A100), torch_lists(device(0, A100))), "nvml"),
        (
            (
                bus(A100),
                listed(A100),
                CudaInit(status="CUDA_ERROR_NO_DEVICE", code=100),
                torch_lists(),
            ),
            "cuda",
        ),
        (
            (
                bus(A100),
                listed(A100),
                CudaInit(status="ok", code=0, device_count=1),
                torch_lists(),
            ),
            "torch",
        ),
        ((bus(A100), listed(A100)), None),
    ],
)
def test_the_first_layer_that_lists_fewer_is_where_a_gpu_is_lost(
    facts: Iterable[Fact], where: str | None
) -> None:
    assert traced(*facts).lost_at == where


@pytest.mark.parametrize("known_bus", [True, False])
def test_a_gpu_that_nvml_counts_and_does_not_answer_for_is_there_and_lost(known_bus: bool) -> None:
    silent = Nvml(
        status="ok",
        device_count=2,
        unanswered=(UnansweredGpu(index=1, error="NVML_ERROR_GPU_IS_LOST"),),
    )
    others = Gpus(devices=(nvml_gpu(0, A100, 0 if known_bus else None),))
    facts = (silent, others, torch_lists(device(0, A100)))
    trace = traced(bus(A100, A100), *facts) if known_bus else traced(*facts)
    assert [gpu.nvml_error for gpu in trace.visible] == [None, "NVML_ERROR_GPU_IS_LOST"]
    assert trace.lost_at == "nvml"


def test_the_silence_of_a_gpu_is_not_put_down_to_one_that_answers() -> None:
    """The first on the bus is held by vfio-pci, so NVML's 0 is the second and its 1 the third."""
    silent = Nvml(status="ok", device_count=2, unanswered=(UnansweredGpu(index=1, error="LOST"),))
    trace = traced(
        bus(A100, A100, A100, drivers={0: "vfio-pci"}),
        Gpus(devices=(nvml_gpu(0, A100, 1),)),
        silent,
    )
    assert [gpu.nvml_error for gpu in trace.gpus] == [None, None, "LOST"]


# --- what hides a GPU ---


@pytest.mark.parametrize("value", ["", "-1", " -1 ", "none", "NoDevFiles"])
def test_a_variable_that_is_meant_to_hide_all_hides_all(value: str) -> None:
    trace = traced(bus(A100, A100), listed(A100, A100), torch_lists(), visible_devices(value))
    assert trace.visible == ()
    assert set(reasons(trace)) == {f"CUDA_VISIBLE_DEVICES is `{value}`"}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("0", ["gpu:0"]),
        ("1,2", ["gpu:1", "gpu:2"]),
        ("2, 0", ["gpu:0", "gpu:2"]),
        (f"GPU-{uuid(1)}", ["gpu:1"]),
        ("GPU-00000002", ["gpu:2"]),
        ("0,7,1", ["gpu:0"]),
    ],
)
def test_the_variable_names_gpus_by_index_and_by_uuid_up_to_the_first_wrong_entry(
    value: str, shown: list[str]
) -> None:
    gpus = (bus(A100, A100, A100), listed(A100, A100, A100))
    assert subjects(traced(*gpus, torch_lists(), visible_devices(value))) == shown


@pytest.mark.parametrize("value", ["3", "7,0", "GPU-ffffffff", "cuda:0", "0x0"])
def test_a_variable_that_names_no_gpu_is_a_mistake_and_hides_none(value: str) -> None:
    trace = traced(bus(A100), listed(A100), torch_lists(), visible_devices(value))
    assert subjects(trace) == ["gpu:0"]
    assert trace.lost_at == "torch"


def test_what_torch_lists_is_visible_whatever_the_index_says() -> None:
    """By default CUDA counts the fastest first, NVML by the bus: 0 is the RTX 3090 for CUDA."""
    trace = traced(
        bus(GTX_1080_TI, RTX_3090),
        listed(GTX_1080_TI, RTX_3090),
        torch_lists(device(0, RTX_3090)),
        visible_devices("0"),
    )
    assert subjects(trace) == ["gpu:1"]


def test_a_mig_slice_that_torch_lists_hides_the_other_gpus() -> None:
    part = device(0, (*A100[:1], f"{A100[1]} MIG 1g.10gb", A100[2]))
    trace = traced(bus(A100, A100), listed(A100, A100), torch_lists(part), visible_devices("MIG-1"))
    assert subjects(trace) == ["gpu:0"]


def test_a_mig_slice_that_is_no_more_does_not_excuse_that_torch_sees_nothing() -> None:
    trace = traced(bus(A100), listed(A100), torch_lists(), visible_devices("MIG-gone"))
    assert subjects(trace) == ["gpu:0"]
    assert trace.lost_at == "torch"


def test_the_node_of_another_user_is_not_wanted_beside_an_own_one() -> None:
    one = (bus(A100, A100), Gpus(devices=(nvml_gpu(0, A100, 0),)), torch_lists(device(0, A100)))
    trace = traced(*one, nodes(0, 1, closed=[1]))
    assert reasons(trace) == ["", "`/dev/nvidia1` is closed to this user"]
    assert trace.lost_at is None


def test_a_closed_node_is_wanted_where_there_is_no_other_gpu() -> None:
    trace = traced(bus(A100), torch_lists(), nodes(0, closed=[0]))
    assert len(trace.visible) == 1


def test_a_container_that_was_given_fewer_has_those() -> None:
    given = Gpus(devices=(nvml_gpu(0, A100, 2),))
    trace = traced(bus(A100, A100, A100), given, torch_lists(device(0, A100)), nodes(2), DOCKER)
    assert subjects(trace) == ["gpu:0"]
    assert reasons(trace) == ["it was not given to this container"] * 2 + [""]
    assert trace.lost_at is None


@pytest.mark.parametrize(("value", "lost_at"), [("0", "torch"), ("1", "torch"), ("2", "torch")])
def test_in_a_container_an_index_counts_what_it_was_given(value: str, lost_at: str) -> None:
    """It was given the third of three: 0 is that one, and 1 and 2 name none."""
    given = Gpus(devices=(nvml_gpu(0, A100, 2),))
    trace = traced(
        bus(A100, A100, A100), given, torch_lists(), nodes(2), DOCKER, visible_devices(value)
    )
    assert subjects(trace) == ["gpu:0"]
    assert trace.lost_at == lost_at


def test_a_container_that_was_given_all_lacks_what_is_lost() -> None:
    given = Gpus(devices=(nvml_gpu(0, A100, 0),))
    trace = traced(bus(A100, A100), given, torch_lists(device(0, A100)), nodes(0, 1), DOCKER)
    assert len(trace.visible) == 2
    assert trace.lost_at == "nvml"


def test_a_gpu_of_a_virtual_machine_is_not_wanted() -> None:
    trace = traced(
        bus(A100, RTX_3090, drivers={1: "vfio-pci"}),
        Gpus(devices=(nvml_gpu(0, A100, 0),)),
        torch_lists(device(0, A100)),
    )
    assert reasons(trace) == ["", "vfio-pci holds it for a virtual machine"]
    assert trace.lost_at is None


def test_an_index_does_not_count_a_gpu_of_a_virtual_machine() -> None:
    trace = traced(
        bus(A100, RTX_3090, drivers={0: "vfio-pci"}),
        Gpus(devices=(nvml_gpu(0, RTX_3090, 1),)),
        torch_lists(),
        visible_devices("0"),
    )
    assert subjects(trace) == ["gpu:0"]


def test_a_gpu_that_no_published_torch_serves_is_not_wanted() -> None:
    trace = traced(bus(GT_710M, drivers={0: "nouveau"}), nodes())
    assert reasons(trace) == ["no torch was published for compute capability 2.1"]
    assert trace.lost_at is None


def test_a_gpu_that_torch_lists_is_wanted_however_old_it_is() -> None:
    trace = traced(bus(GT_710M), torch_lists(device(0, GT_710M)))
    assert subjects(trace) == ["gpu:0"]


def test_a_gpu_of_an_unknown_chip_is_wanted() -> None:
    assert len(traced(bus(("ffff", "", ""))).visible) == 1


# --- machines without a bus, without NVML, without NVIDIA ---

WSL = Container(kind="none", wsl=2)
WSL_DRIVER = Driver(
    loaded=False,
    release=None,
    device_nodes=("/dev/dxg",),
    libcuda_files=("/usr/lib/wsl/lib/libcuda.so.1",),
)


def test_windows_shows_its_gpu_to_wsl() -> None:
    trace = traced(PciGpus(devices=()), WSL, WSL_DRIVER, torch_lists())
    (gpu,) = trace.visible
    assert gpu.described == "the GPU that Windows shows"
    assert trace.lost_at == "torch"


@pytest.mark.parametrize(
    "driver",
    [
        Driver(loaded=False, release=None, device_nodes=("/dev/dxg",)),
        Driver(loaded=False, release=None, libcuda_files=WSL_DRIVER.libcuda_files),
    ],
)
def test_a_wsl_without_nvidias_driver_shows_none(driver: Driver) -> None:
    assert traced(PciGpus(devices=()), WSL, driver, torch_lists()).gpus == ()


def test_in_wsl_nvml_and_torch_tell_without_a_bus() -> None:
    trace = traced(
        PciGpus(devices=()),
        WSL,
        WSL_DRIVER,
        Gpus(devices=(nvml_gpu(0, RTX_3090, 0),)),
        torch_lists(device(0, RTX_3090)),
    )
    assert layers(trace) == [("gpu:0", 0, 0)]
    assert trace.lost_at is None


def test_a_jetson_has_no_bus_and_its_gpu_is_one() -> None:
    orin = TorchDevice(index=0, name="Orin", compute_capability="8.7", memory_bytes=2**35)
    trace = traced(
        PciGpus(devices=()),
        Nvml(status="ok"),
        Gpus(devices=(Gpu(index=0, name="Orin (nvgpu)"),)),
        torch_lists(orin),
        nodes(0),
    )
    assert layers(trace) == [("gpu:0", 0, 0)]
    assert trace.gpus[0].compute_capability == "8.7"
    assert trace.lost_at is None


def test_nodes_tell_of_a_gpu_that_nothing_else_names() -> None:
    trace = traced(PciGpus(devices=()), nodes(0, 1), torch_lists())
    assert subjects(trace) == ["gpu:0", "gpu:1"]
    assert trace.lost_at == "torch"


def test_nodes_that_a_removed_driver_left_tell_nothing() -> None:
    driver = Driver(loaded=False, release=None, device_nodes=("/dev/nvidia0",))
    assert traced(PciGpus(devices=()), driver).gpus == ()


def test_a_card_of_amd_is_none_of_nvidias() -> None:
    radeon = PciDevice(address=address(0), vendor_id="1002", device_id="744c", driver="amdgpu")
    trace = traced(PciGpus(devices=(radeon,)), torch_lists())
    assert (trace.gpus, trace.bus) == ((), 0)


def test_what_nobody_asked_is_not_known() -> None:
    trace = traced()
    assert trace.gpus == ()
    assert {trace.bus, trace.driver, trace.nvml, trace.cuda, trace.torch} == {None}


# --- the release of the driver ---


def released(*facts: Fact) -> DriverRelease:
    release = derive_facts([driver_release], of(*facts), SERVICES).value(DriverRelease)
    assert release is not None
    return release


def test_the_kernel_is_believed_before_nvml() -> None:
    driver = Driver(loaded=True, release="535.1.1", release_source="/proc/driver/nvidia/version")
    nvml = Nvml(status="ok", driver_release="550.1.1", driver_cuda="12.4")
    release = released(driver, nvml)
    assert (release.release, release.source) == ("535.1.1", "/proc/driver/nvidia/version")
    assert release.cuda == "12.4"


def test_in_wsl_nvml_tells_the_release_in_the_numbers_of_windows() -> None:
    release = released(WSL, WSL_DRIVER, Nvml(status="ok", driver_release="581.57"))
    assert (release.release, release.source, release.windows) == ("581.57", "NVML", True)


def test_the_release_of_the_libraries_is_in_their_names() -> None:
    init = CudaInit(status="ok", code=0, library="/usr/lib/libcuda.so.570.86.10")
    assert released(init).libraries == "570.86.10"


def test_what_forward_compatibility_offers_is_not_the_drivers_own() -> None:
    path = "/usr/local/cuda/compat/libcuda.so.570.86.10"
    release = released(CudaInit(status="ok", code=0, library=path, driver_cuda="12.8"))
    assert (release.libraries, release.cuda) == (None, None)
