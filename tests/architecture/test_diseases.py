"""Every disease has one name, one page, and a machine that has it."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from envdoctor.findings import Code, Layer, Severity
from envdoctor.pages import codes_of, find_page, find_topic_page
from envdoctor.plugin_loading import load_plugins
from tests.architecture.families import OWN, VOCABULARY
from tests.captured import CAPTURED
from tests.support.attached_states import ATTACHED_DISEASES
from tests.support.cases import CASES
from tests.support.diagnosis import recorded, report_on
from tests.support.doctor import envdoctor
from tests.support.given_states import GIVEN_DISEASES
from tests.support.gpu_states import DISEASES
from tests.support.held_states import HELD_DISEASES
from tests.support.host_states import HOST_DISEASES
from tests.support.place_states import PLACE_DISEASES

LOADED = load_plugins()
CODES = codes_of(LOADED)
SECTIONS = ["## What it means", "## How it is recognised", "## Fix", "## Sources"]
ROOT = Path(__file__).parents[2]

every_code = pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)


# --- the code says what there is to say ---


def test_ids_and_names_are_used_once() -> None:
    assert len({code.id for code in CODES}) == len(CODES)
    assert len({code.name for code in CODES}) == len(CODES)


@every_code
def test_names_follow_the_style(code: Code) -> None:
    assert re.fullmatch(r"ED\d{3}", code.id)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9.]+)*", code.name)
    assert set(code.explains) <= {one.id for one in CODES}


OF_THE_DOCTOR = {"plugin-load-failed", "check-crashed", "knowledge-outdated"}
"""Diseases of the doctor itself; all others say where in the stack they sit."""


@every_code
def test_every_code_says_where_it_sits_and_what_it_breaks(code: Code) -> None:
    of_the_doctor = code.name in OF_THE_DOCTOR
    assert (code.topic == "doctor") is of_the_doctor
    assert (code.layer is Layer.DOCTOR) is of_the_doctor
    assert code.breaks or code.severity is not Severity.ERROR, "an error says what it breaks"


@every_code
def test_every_code_says_whose_fault_it_is(code: Code) -> None:
    """The machine's or the environment's; a gate tells a runner's fault from a pull request's."""
    assert code.finding().fault == code.fault
    assert (code.fault == "doctor") is (code.name in OF_THE_DOCTOR)
    assert code.fault in ("machine", "environment", "doctor")


FAULTS = {
    "driver-not-loaded": "machine",
    "container-lost-gpu": "machine",
    "ranks-not-reached": "machine",
    "shm-too-small": "machine",
    "glibc-too-old": "machine",
    "noexec-mount": "machine",
    "address-space-limit": "machine",
    "slow-pcie": "machine",
    "cpu-only-torch": "environment",
    "torchvision-mismatch": "environment",
    "dependency-missing": "environment",
    "nvcc-torch-mismatch": "environment",
    "cuda-visible-devices": "environment",
    "nccl-socket-ifname": "environment",
    "driver-stub": "environment",
    "debug-environment": "environment",
}


@pytest.mark.parametrize(("name", "fault"), FAULTS.items())
def test_packages_and_variables_are_the_environments_all_else_the_machines(
    name: str, fault: str
) -> None:
    assert next(code for code in CODES if code.name == name).fault == fault


@every_code
def test_the_message_needs_no_argument(code: Code) -> None:
    message = code.finding().message
    assert message == code.message
    assert "{" not in message
    assert len(message.split()) > 2
    assert re.match(r"[a-z`/]|[A-Z_]{2}", message), "it begins in lower case"
    assert not message.endswith(".")


@every_code
def test_a_family_is_a_label_of_the_vocabulary_or_the_codes_own_name(code: Code) -> None:
    assert code.family in VOCABULARY | OWN | {code.name}


def test_no_family_is_left_over() -> None:
    assert {code.family for code in CODES} >= VOCABULARY | OWN


def test_the_vocabulary_is_that_of_the_recorded_failures(shared: Path) -> None:
    text = (shared / "cases" / "causes.md").read_text(encoding="utf-8")
    labels = {label.replace("_", "-") for label in re.findall(r"`([a-z0-9_-]+)`", text)}
    assert labels >= VOCABULARY
    families = {code.family for code in CODES}
    assert families & labels == VOCABULARY, "a family that is a label is listed as one"


# --- the page ---


def test_every_page_belongs_to_a_disease() -> None:
    folder = next(plugin.pages for plugin in LOADED.plugins if plugin.name == "builtin")
    assert folder is not None
    assert {path.stem for path in folder.glob("*.md")} == {code.id for code in CODES}


@every_code
def test_a_page_holds_what_the_code_cannot_say(code: Code) -> None:
    page = find_page(code, LOADED)
    assert page is not None
    head, _, rest = page.partition("\n\n## ")
    assert head.startswith(f"# {code.id} {code.name}\n")
    assert code.message in head
    assert [line for line in page.splitlines() if line in SECTIONS] == SECTIONS
    assert rest.startswith("What it means"), "nothing stands before the first section"


def test_the_page_of_the_topic_speed_leads_to_all_its_diseases() -> None:
    page = envdoctor("rule", "speed").stdout
    assert page == find_topic_page("speed", LOADED)
    on_the_page = re.findall(r"\bED\d{3}\b", page)
    assert {*on_the_page} == {code.id for code in CODES if code.topic == "speed"}
    slow = next(code for code in CODES if code.id == "ED604")
    assert "envdoctor rule speed" in (find_page(slow, LOADED) or "")
    assert find_topic_page("doctor", LOADED) is None
    for words in re.findall(r"^    envdoctor (.*)$", page, flags=re.MULTILINE):
        known = envdoctor(words.split()[0], "--help").stdout
        assert all(word in known for word in words.split() if word.startswith("--"))


@pytest.mark.parametrize("code", CODES[:3], ids=lambda code: code.name)
def test_a_page_is_shown_by_code_and_by_name(code: Code) -> None:
    by_code, by_name = envdoctor("rule", code.id), envdoctor("rule", code.name.upper())
    assert by_code.exit_code == 0
    assert by_code.stdout == by_name.stdout


# --- the case ---


@cache
def fired_by_cases() -> frozenset[str]:
    """The codes that the lists of broken machines fire."""
    cases = (*CASES.values(), *DISEASES.values(), *HOST_DISEASES.values())
    machines = [case.snapshot for case in cases]
    of_places = [*PLACE_DISEASES.values(), *ATTACHED_DISEASES.values()]
    of_places += [*HELD_DISEASES.values(), *GIVEN_DISEASES.values()]
    machines += [case.snapshot for case, _ in of_places]
    machines += [recorded(str(path)) for path in CAPTURED]
    return frozenset(one.code for machine in machines for one in report_on(machine).findings)


LOADER = "tests/loader/test_broken_miniatures.py"
COMPANIONS = "tests/knowledge/test_companion_checks.py"
SPEED = "tests/calibration/test_checks.py"
CPU = "tests/calibration/test_cpu_checks.py"

NETWORK = "tests/machines/test_network.py"
PEERS = "tests/machines/test_peers.py"
POLICY = "tests/policy/test_holding.py"
JOB = "tests/collective/test_checks.py"
CLOCK = "tests/machines/test_clock.py"
HUGE_PAGES = "tests/machines/test_huge_pages.py"
OPEN_FILES = "tests/machines/test_open_files.py"
EXHAUSTED = "tests/machines/test_exhausted.py"
IMPORTS = "tests/repair/test_import_errors.py"
ATTEMPTS = "tests/machines/test_attempts.py"
COMPILING = f"{ATTEMPTS}::test_what_torch_compile_says_has_a_name"
BY_TRITON = f"{ATTEMPTS}::test_what_triton_says_has_a_name"
EXTENDING = f"{ATTEMPTS}::test_what_building_an_extension_says_has_a_name"

FIRED_BY = {
    "ED001": "tests/plugins/test_third_party.py::test_a_plugin_that_fails_is_a_finding",
    "ED002": "tests/core/test_engine.py::test_a_check_that_fails_does_not_disturb_the_others",
    "ED106": f"{IMPORTS}::test_an_error_that_names_its_cause",
    "ED107": f"{IMPORTS}::test_a_torch_for_another_python_is_told_with_all_that_came_with_it",
    "ED108": f"{IMPORTS}::test_two_builds_of_one_package_are_parted",
    "ED109": "tests/repair/test_interpreters.py::test_a_pythonhome_of_another_python",
    "ED622": f"{SPEED}::test_variables_that_keep_instructions_unused",
    "ED620": "tests/calibration/test_contention.py::test_others_that_had_the_cpus_are_a_finding",
    "ED110": f"{IMPORTS}::test_an_error_that_names_its_cause",
    "ED111": f"{IMPORTS}::test_an_error_that_names_its_cause",
    "ED112": f"{IMPORTS}::test_packages_that_a_newer_python_left_behind",
    "ED113": "tests/repair/test_interpreters.py::test_a_setting_that_was_seen_to_break_the_import",
    "ED290": "tests/core/test_scope.py::test_cuda_does_not_start_and_nothing_below_says_why",
    "ED300": f"{LOADER}::test_a_missing_library_is_named_with_its_disease",
    "ED301": f"{LOADER}::test_a_missing_library_is_named_with_its_disease",
    "ED310": f"{LOADER}::test_a_shadow_that_still_fits_is_a_warning",
    "ED311": f"{LOADER}::test_an_older_nvjitlink_on_the_path_breaks_24",
    "ED312": f"{LOADER}::test_a_preloaded_old_nccl_lacks_the_symbol",
    "ED314": f"{LOADER}::test_two_majors_of_one_component",
    "ED320": f"{LOADER}::test_old_c_plus_plus_and_old_glibc",
    "ED321": f"{LOADER}::test_old_c_plus_plus_and_old_glibc",
    "ED322": f"{LOADER}::test_an_mkl_without_the_profilers_symbol",
    "ED325": f"{LOADER}::test_two_copies_of_an_openmp_runtime",
    "ED323": f"{IMPORTS}::test_an_error_that_names_its_cause",
    "ED324": f"{IMPORTS}::test_an_error_that_names_its_cause",
    "ED326": "tests/repair/test_libraries.py::test_wheels_in_folders_of_their_own_are_one_finding",
    "ED327": f"{IMPORTS}::test_a_limit_of_the_address_space_is_told_from_a_noexec_mount",
    "ED330": f"{LOADER}::test_a_stub_that_wins_is_told",
    "ED331": f"{LOADER}::test_a_compat_library_that_is_not_newer_than_the_driver",
    "ED332": f"{LOADER}::test_a_missing_ld_preload_is_a_warning",
    "ED345": f"{LOADER}::test_an_extension_built_for_another_torch",
    "ED346": f"{LOADER}::test_an_extension_built_for_another_torch",
    "ED347": f"{LOADER}::test_an_extension_built_for_another_torch",
    "ED349": f"{LOADER}::test_a_difference_between_prediction_and_truth_is_told",
    "ED350": f"{LOADER}::test_a_missing_library_is_named_with_its_disease",
    "ED351": f"{LOADER}::test_cudnn_of_two_versions",
    "ED360": f"{LOADER}::test_a_pin_that_is_violated_and_a_wheel_that_is_missing",
    "ED361": f"{LOADER}::test_a_pin_that_is_violated_and_a_wheel_that_is_missing",
    "ED370": f"{COMPANIONS}::test_what_was_made_for_another_torch",
    "ED371": f"{COMPANIONS}::test_what_was_made_for_another_torch",
    "ED372": f"{COMPANIONS}::test_what_was_made_for_another_torch",
    "ED373": f"{COMPANIONS}::test_what_was_made_for_another_torch",
    "ED374": f"{COMPANIONS}::test_bitsandbytes_without_code_for_this_cuda",
    "ED375": f"{COMPANIONS}::test_a_toolkit_matters_to_those_who_build",
    "ED376": f"{COMPANIONS}::test_a_newer_cudnn_put_in_by_hand_has_no_code_for_a_v100",
    "ED378": f"{IMPORTS}::test_a_torchcodec_that_finds_no_ffmpeg",
    "ED379": f"{COMPANIONS}::test_a_torch_newer_than_the_data_is_named_and_not_judged",
    "ED416": "tests/machines/test_numpy.py::test_what_nothing_explains_is_looked_at_further",
    "ED114": "tests/repair/test_closed_files.py::test_a_library_that_only_root_may_read",
    "ED115": "tests/repair/test_python_start.py::test_an_environment_without_pyvenv_cfg",
    "ED116": "tests/repair/test_python_start.py::test_a_path_file_in_another_encoding_ends_python",
    "ED117": f"{IMPORTS}::test_an_error_that_names_its_cause",
    "ED118": f"{IMPORTS}::test_an_error_that_names_its_cause",
    "ED119": "tests/repair/test_python_start.py::test_a_link_to_the_python_of_an_environment",
    "ED339": f"{IMPORTS}::test_an_error_that_names_its_cause",
    "ED421": f"{IMPORTS}::test_an_editable_torch_whose_checkout_is_gone",
    "ED600": f"{SPEED}::test_slower_than_expected",
    "ED601": f"{SPEED}::test_throttling_is_the_cause_of_a_slow_gpu",
    "ED602": f"{SPEED}::test_a_lowered_power_limit_matters_once_the_gpu_runs_into_it",
    "ED603": f"{SPEED}::test_fewer_lanes_and_a_low_generation_under_load",
    "ED604": f"{SPEED}::test_a_pipeline_that_feeds_232_starves_an_a100",
    "ED605": f"{SPEED}::test_training_on_the_cpu_beside_a_gpu",
    "ED606": f"{SPEED}::test_memory_held_by_others",
    "ED607": f"{SPEED}::test_thread_limits",
    "ED608": f"{SPEED}::test_a_quota_below_the_visible_cpus",
    "ED609": "tests/machines/test_variables.py"
    "::test_what_waits_for_every_kernel_is_a_warning_where_there_are_kernels",
    "ED610": f"{SPEED}::test_training_in_fp32_where_more_is_on_offer",
    "ED611": f"{SPEED}::test_slower_than_last_month_by_more_than_the_noise",
    "ED612": f"{SPEED}::test_a_step_that_does_not_shrink_with_the_batch",
    "ED613": f"{SPEED}::test_a_mig_slice",
    "ED614": f"{SPEED}::test_low_clocks",
    "ED615": f"{SPEED}::test_a_gpu_that_others_use_is_slower",
    "ED616": f"{SPEED}::test_ecc_costs_bandwidth_in_gddr_alone",
    "ED617": f"{SPEED}::test_gpus_on_another_numa_node",
    "ED618": f"{SPEED}::test_threads_across_numa_nodes_matter_where_the_cpu_trains",
    "ED619": f"{SPEED}::test_a_process_that_may_use_a_part_of_the_cpus",
    "ED624": f"{CPU}::test_a_cpu_far_below_its_own_product",
    "ED625": f"{CPU}::test_a_torch_without_onednn",
    "ED626": f"{CPU}::test_more_threads_than_cpus",
    "ED627": f"{CPU}::test_bf16_that_is_slower",
    "ED628": f"{CPU}::test_cpus_that_share_cores",
    "ED700": f"{NETWORK}::test_nccl_is_told_an_interface_that_it_cannot_use",
    "ED701": f"{NETWORK}::test_nccl_is_told_a_device_that_carries_nothing",
    "ED702": f"{NETWORK}::test_every_machine_waits_for_itself",
    "ED703": f"{NETWORK}::test_a_name_that_debian_gives_to_the_loopback",
    "ED704": f"{NETWORK}::test_variables_that_contradict_themselves",
    "ED705": f"{NETWORK}::test_a_port_without_a_subnet_manager",
    "ED706": f"{NETWORK}::test_infiniband_beside_a_driver_that_lets_it_read_no_gpu",
    "ED707": f"{PEERS}::test_nccl_that_hangs_has_its_cause",
    "ED708": f"{PEERS}::test_gpus_that_do_not_reach_each_other",
    "ED328": f"{EXHAUSTED}::test_threads_that_an_import_is_refused",
    "ED329": f"{EXHAUSTED}::test_an_import_that_is_killed",
    "ED333": f"{EXHAUSTED}::test_room_for_temporary_files",
    "ED334": f"{CLOCK}::test_a_clock_in_the_past",
    "ED335": f"{EXHAUSTED}::test_a_user_without_a_name",
    "ED337": f"{CLOCK}::test_a_clock_that_is_set_under_a_job_of_several_machines",
    "ED338": f"{CLOCK}::test_a_slow_counter_is_worth_knowing",
    "ED336": f"{EXHAUSTED}::test_windows_cannot_promise_the_memory",
    "ED623": f"{EXHAUSTED}::test_a_cpu_held_at_its_lowest_clock",
    "ED430": f"{HUGE_PAGES}::test_an_import_that_is_killed_for_want_of_memory",
    "ED431": f"{OPEN_FILES}::test_an_import_that_may_open_no_more",
    "ED709": f"{NETWORK}::test_memory_that_cards_may_not_read",
    "ED710": f"{JOB}::test_what_nothing_explains",
    "ED711": f"{JOB}::test_this_node_does_not_come_to_where_all_meet",
    "ED712": f"{JOB}::test_ranks_that_do_not_reach_each_other",
    "ED713": f"{JOB}::test_this_node_does_not_come_to_where_all_meet",
    "ED714": f"{JOB}::test_this_node_does_not_come_to_where_all_meet",
    "ED715": f"{JOB}::test_a_node_that_does_not_come",
    "ED716": f"{JOB}::test_a_rank_that_died_is_the_cause_of_what_the_others_say",
    "ED717": f"{JOB}::test_nodes_that_differ",
    "ED718": f"{JOB}::test_nccl_says_why",
    "ED719": f"{JOB}::test_a_wrong_sum",
    **{f"ED80{number}": f"{POLICY}::test_what_does_not_hold_is_a_finding" for number in range(7)},
    "ED807": f"{POLICY}::test_an_exception_that_has_expired_says_so",
    **dict.fromkeys(("ED380", "ED381", "ED383", "ED384", "ED387", "ED422"), COMPILING),
    **dict.fromkeys(("ED385", "ED386", "ED390", "ED391"), BY_TRITON),
    **dict.fromkeys(("ED382", "ED388", "ED389", "ED423"), EXTENDING),
    "ED392": f"{ATTEMPTS}::test_a_variable_that_switches_torch_compile_off",
    "ED720": f"{JOB}::test_packets_of_full_size_are_lost",
}
"""Diseases that need more than facts in a list (real libraries, a calibration), by the test that
makes them fire."""


@every_code
def test_every_disease_is_fired_by_a_case(code: Code) -> None:
    by_case = code.id in fired_by_cases()
    assert by_case or code.id in FIRED_BY, "no machine has it"


def test_the_table_names_no_disease_that_is_none() -> None:
    assert FIRED_BY.keys() <= {code.id for code in CODES}


@pytest.mark.parametrize("id_", FIRED_BY)
def test_the_test_that_fires_it_is_there_and_speaks_of_it(id_: str) -> None:
    path, _, name = FIRED_BY[id_].partition("::")
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    tests = [one for one in ast.parse("\n".join(lines)).body if isinstance(one, ast.FunctionDef)]
    (test,) = (one for one in tests if one.name == name)
    first = min(node.lineno for node in (test, *test.decorator_list))
    text = "\n".join(lines[first - 1 : test.end_lineno])
    code = next(code for code in CODES if code.id == id_)
    constant = code.name.upper().replace("-", "_")
    assert re.search(rf"\b({code.id}|{re.escape(code.name)}|{constant})\b", text)
