"""Repairs of what lies below torch: the driver, its kernel module, device nodes, containers, WSL.

What belongs to the host is never printed in a container as if it worked there: such a fix says
`on the host` and where it is done (`Fix.where`).
"""

from envdoctor.repair.system.boards import (
    gpu_for_wsl,
    remove_driver_inside_wsl,
    show_wsl_libraries,
    torch_of_jetpack,
    update_wsl,
)
from envdoctor.repair.system.containers import (
    allow_compute,
    ask_slurm,
    give_amd_gpus,
    give_gpus,
    more_shared_memory,
    open_nodes,
    start_anew,
)
from envdoctor.repair.system.driver import (
    allow_module,
    boot_kernel,
    build_module,
    driver_of_branch,
    install_driver,
    load_module,
    open_module,
    proprietary_module,
    read_build_log,
    release_from_nouveau,
    sign_module,
    update_driver,
)
from envdoctor.repair.system.hardware import (
    connect_power,
    fabric_manager,
    fabric_manager_of_hypervisor,
    fabric_of_rack,
    install_gsp_firmware,
    license_vgpu,
    look_at_topology,
    more_address_space,
    pass_through_iommu,
    replace_gpu,
    reset_gpu,
    restart,
    share_gpu,
    switch_acs_off,
)
from envdoctor.repair.system.libcuda import (
    libraries_of_release,
    remove_empty_libraries,
    show_libcuda,
)
from envdoctor.repair.system.place import (
    look_at_kernel_log,
    on_host,
)

__all__ = [
    "allow_compute",
    "allow_module",
    "ask_slurm",
    "boot_kernel",
    "build_module",
    "connect_power",
    "driver_of_branch",
    "fabric_manager",
    "fabric_manager_of_hypervisor",
    "fabric_of_rack",
    "give_amd_gpus",
    "give_gpus",
    "gpu_for_wsl",
    "install_driver",
    "install_gsp_firmware",
    "libraries_of_release",
    "license_vgpu",
    "load_module",
    "look_at_kernel_log",
    "look_at_topology",
    "more_address_space",
    "more_shared_memory",
    "on_host",
    "open_module",
    "open_nodes",
    "pass_through_iommu",
    "proprietary_module",
    "read_build_log",
    "release_from_nouveau",
    "remove_driver_inside_wsl",
    "remove_empty_libraries",
    "replace_gpu",
    "reset_gpu",
    "restart",
    "share_gpu",
    "show_libcuda",
    "show_wsl_libraries",
    "sign_module",
    "start_anew",
    "switch_acs_off",
    "torch_of_jetpack",
    "update_driver",
    "update_wsl",
]
