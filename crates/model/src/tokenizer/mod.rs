//! CLIP's tokenizer, vocabulary built in.
