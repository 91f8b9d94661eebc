"""What the sources of Llama2-MedTuned-Instructions hold: their task and their labels."""

__all__ = ["HALLMARKS", "NLI_LABELS", "NO_RELATION", "RELATIONS", "SOURCES"]

SOURCES = {
    "ncbi-disease": "ner",
    "bc5cdr-disease": "ner",
    "bc5cdr-chem": "ner",
    "bc2gm": "ner",
    "jnlpba": "ner",
    "i2b2-2012": "ner",
    "i2b2-2010": "relation",
    "mednli": "nli",
    "hoc": "classification",
    "chatdoctor": "qa",
    "pmc_llama": "qa",
}
"""Sources of Llama2-MedTuned-Instructions, in lower case, and their task."""

NLI_LABELS = ("Contradiction", "Entailment", "Neutral")
NO_RELATION = "No Relations"
RELATIONS = ("PIP", "TeCP", "TeRP", "TrAP", "TrCP", "TrIP", "TrNAP", "TrWP", NO_RELATION)
HALLMARKS = (
    "Sustaining proliferative signaling (PS)",
    "Evading growth suppressors (GS)",
    "Resisting cell death (CD)",
    "Enabling replicative immortality (RI)",
    "Inducing angiogenesis (A)",
    "Activating invasion & metastasis (IM)",
    "Genome instability & mutation (GI)",
    "Tumor-promoting inflammation (TPI)",
    "Deregulating cellular energetics (CE)",
    "Avoiding immune destruction (ID)",
)
