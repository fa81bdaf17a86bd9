"""The credentials that can be told by their form, as the issuers and the scanners publish it.

The union of the formats in the rules of gitleaks (config/gitleaks.toml) and detect-secrets (plugins
of 1.5), looked at 2026-11-26, and of what is used around machine learning. Lengths are lower
bounds: a token that was cut is one still.
"""

_ALNUM = "[A-Za-z0-9]"
_HEX = "[A-Fa-f0-9]"
_URL64 = r"[\w-]"

TOKENS: tuple[tuple[tuple[str, ...], str], ...] = (
    # Machine learning.
    (("hf_", "api_org_"), _ALNUM + "{16,}"),  # Hugging Face
    (("nvapi-",), _URL64 + "{20,}"),  # NVIDIA NGC
    (("sk-",), r"(?:[A-Za-z0-9]{20,}|(?:proj|svcacct|admin|None|ant|or|lf)-[\w-]{16,})"),  # OpenAI,
    # Anthropic, OpenRouter, DeepSeek, Langfuse
    (("wandb_v1_", "local-wandb_v1_"), _URL64 + "{20,}"),  # Weights & Biases
    (("gsk_", "xai-", "pplx-", "fw_", "csk-"), _ALNUM + "{24,}"),  # Groq, xAI, Perplexity ...
    (("r8_",), _ALNUM + "{37,}"),  # Replicate
    (("lsv2_pt_", "lsv2_sk_"), r"[a-f0-9]{32}\w*"),  # LangSmith
    (("ABSK",), r"[A-Za-z0-9+/]{60,}=*"),  # Amazon Bedrock
    (("bedrock-api-key-",), r"[\w+/=-]{20,}"),
    (("dapi", "dose", "dkea"), r"[a-f0-9]{32}(?:-\d)?"),  # Databricks
    (
        ("jina_", "tvly-", "pcsk_", "fc-"),
        r"(?:dev-|prod-)?[A-Za-z0-9]{24,}\w*",
    ),  # Jina, Tavily, Pinecone, Firecrawl
    # Where code and packages are kept.
    (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"\w{20,}"),  # GitHub
    (("github_pat_",), r"\w{20,}"),
    (
        # GitLab
        (
            *("glpat-", "gldt-", "glft-", "glffct-", "glsoat-", "glrt-", "glrtr-", "glcbt-"),
            *("glimt-", "glptt-", "glagent-", "gloas-", "glwt-", "GR1348941"),
        ),
        r"[\w.-]{16,}",
    ),
    (("_gitlab_session=",), r"\w{20,}"),
    (("ATATT3", "ATCTT3", "ATBB", "BBDC-"), r"[\w=-]{20,}"),  # Atlassian
    (("pypi-",), r"(?:Ag[\w-]{16,}|[\w-]{50,})"),
    (("npm_",), _ALNUM + "{30,}"),
    (("dckr_pat_", "dckr_oat_", "dckr_jti_"), _URL64 + "{20,}"),  # Docker Hub
    (("AKCp", "cmVmd"), _ALNUM + "{10,}"),  # Artifactory
    (("rubygems_",), _HEX + "{40,}"),
    (("oy2",), "[a-z0-9]{43}(?![A-Za-z0-9])"),  # NuGet
    (("cio",), _ALNUM + "{32}(?![A-Za-z0-9])"),  # crates.io
    (("CLOJARS_",), "[a-z0-9]{32,}"),
    # Clouds.
    (("AKIA", "ASIA", "ABIA", "ACCA"), "[A-Z0-9]{16}"),  # Amazon
    (("AIza", "GOCSPX-"), _URL64 + "{24,}"),  # Google
    (("ya29.",), r"[\w.-]{20,}"),
    (("LTAI",), _ALNUM + "{12,}"),  # Alibaba
    (("dop_v1_", "doo_v1_", "dor_v1_"), _HEX + "{40,}"),  # DigitalOcean
    (("sha256~",), _URL64 + "{43}"),  # OpenShift
    (("HRKU-",), _URL64 + "{30,}"),  # Heroku
    (("hvs.", "hvb.", "hvr."), _URL64 + "{20,}"),  # Vault
    (("tskey-",), r"\w+-[\w-]{10,}"),  # Tailscale
    (("fo1_", "fm1a_", "fm1r_", "fm2_"), r"[\w+/-]{40,}=*"),  # Fly
    (("pul-", "tfp_", "dp.pt.", "dp.st.", "dp.ct.", "dp.sa."), r"[\w.-]{36,}"),  # Pulumi, Doppler
    (("v1.0-",), r"[a-f0-9]{24}-[a-f0-9]{60,}"),  # Cloudflare
    (("dt0c01.", "dt0s16."), r"\w{24}\.\w{32,}"),  # Dynatrace
    (("s-s4t2ud-", "s-s4t2af-"), _HEX + "{32,}"),  # Intra 42
    (("4b1d",), _ALNUM + "{38}(?![A-Za-z0-9])"),  # ClickHouse
    # Services.
    (
        (
            *("xoxa-", "xoxb-", "xoxc-", "xoxd-", "xoxe-", "xoxe.", "xoxo-", "xoxp-", "xoxr-"),
            *("xoxs-", "xapp-", "xwfp-"),
        ),
        r"[\w.%-]{10,}",
    ),  # Slack
    (
        ("sk_live_", "sk_test_", "sk_prod_", "rk_live_", "rk_test_", "rk_prod_", "whsec_"),
        _ALNUM + "{10,}",
    ),  # Stripe
    (("SG.",), r"[\w-]{16,}\.[\w-]{16,}"),  # SendGrid
    (("xkeysib-", "xsmtpsib-"), _URL64 + "{40,}"),  # Brevo
    (("sq0atp-", "sq0csp-", "sq0idp-", "EAAA"), _URL64 + "{22,}"),  # Square
    (("EAAM", "EAAC"), _ALNUM + "{60,}"),  # Facebook
    (("shpat_", "shpca_", "shppa_", "shpss_", "shptka_"), _HEX + "{32}"),  # Shopify
    (("shippo_live_", "shippo_test_"), _HEX + "{40}"),
    (("glc_", "glsa_"), r"[\w+/]{32,}=*"),  # Grafana
    (("sntrys_", "sntryu_"), r"[\w+/=]{40,}"),  # Sentry
    (("NRAK-", "NRII-", "NRJS-"), "[A-Za-z0-9-]{16,}"),  # New Relic
    (("lin_api_", "ntn_", "secret_", "figd_", "PMAK-", "rdme_"), _URL64 + "{40,}"),  # Linear,
    # Notion, Figma, Postman, ReadMe
    (("pscale_tkn_", "pscale_oauth_", "pscale_pw_"), r"[\w=.-]{32,}"),  # PlanetScale
    (("EZAK", "EZTK", "PNU_", "pnu_", "ico-", "p8e-", "API-"), _ALNUM + "{26,}"),
    (("duffel_live_", "duffel_test_"), r"[\w=-]{40,}"),
    (("FLWSECK_TEST-", "FLWPUBK_TEST-", "FLWSECK-", "FLWPUBK-"), r"\w{12,}(?:-X)?"),
    (("fio-u-",), r"[\w=-]{40,}"),
    (("sm_aat_", "sm_pat_", "sm_sat_"), _ALNUM + "{16}"),
    (("sgp_",), r"(?:(?:[a-fA-F0-9]{16}|local)_)?[a-fA-F0-9]{40}"),  # Sourcegraph
    (("tk-us-", "tk-eu-"), _URL64 + "{40,}"),
    (("phc_", "phx_"), _ALNUM + "{30,}"),  # PostHog
    (("pat.", "sat."), r"[\w-]{22}\.[\w-]{24}\.[\w-]{20}"),  # Harness
    (("pat",), r"[A-Za-z0-9]{14}\.[a-f0-9]{64}"),  # Airtable
    (("A3T",), "[A-Z0-9]{17}"),
    (("A3-",), r"[A-Z0-9]{6}-[A-Z0-9-]{20,}"),  # 1Password
    (("ops_eyJ",), r"[\w+/=-]{40,}"),
    (("AGE-SECRET-KEY-1",), "[A-Z0-9]{40,}"),
    (("eyJ",), r"[\w=-]{8,}\.[\w=-]{8,}(?:\.[\w.+/=-]*)?"),  # JSON web tokens (RFC 7519)
    (("eyJrIjoi",), r"\w{30,}=*"),  # Grafana, the old ones
    (("ZXlK",), r"[\w+/=]{60,}"),  # a web token, encoded once more
)
"""Each row: how these tokens begin, and a pattern of what follows."""

BEGINS = "(?<![A-Za-z0-9])"
"""What comes before a token: it may stand behind a `_` or `-`, as in names of files."""
