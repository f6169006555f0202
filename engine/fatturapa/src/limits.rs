//! Bounds on everything a file from outside can make us do. A bound never changes what an honest
//! invoice may say: each is set above what the schema and the 5 MB of the SdI allow together.

/// Largest invoice file, in bytes: 5 MB on SDICoop and on the web (RULES.md section 1, code 00003).
pub const FILE_BYTES_MAX: usize = 5 * 1024 * 1024;

/// Largest file that is opened at all, in bytes: a PEC may carry 30 MB, and a receiver must be able to
/// say 00003 about it instead of failing; a base64 envelope of a 5 MB file stays below 8 MB.
pub const OPEN_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Elements in one file: the shortest element that the schema accepts, `<Causale>x</Causale>`, has 20
/// bytes, so 5 MB hold 262,144 of them.
pub const XML_ELEMENTS_MAX: u32 = 264_000;

/// Nesting of elements: invoices reach 8, XAdES signatures 14.
pub const XML_DEPTH_MAX: usize = 64;

/// Attributes of one element: the schema knows 2, roots written by tools carry up to 12 namespaces.
pub const XML_ATTRIBUTES_MAX: usize = 64;

/// Namespace declarations in scope at one place. Every prefix is looked up among these, so this bound
/// keeps the cost of a name constant.
pub const XML_NAMESPACES_MAX: usize = 64;

/// Different namespace names in one file.
pub const XML_NAMESPACE_NAMES_MAX: usize = 256;

/// Length of an element or attribute name, in bytes: the longest official one has 37.
pub const XML_NAME_BYTES_MAX: usize = 256;

/// Nesting of ASN.1 values: a signed file of the wild reaches 12.
pub const BER_DEPTH_MAX: usize = 32;

/// ASN.1 values read in one envelope, so that a file of empty values costs no more than a real one.
pub const BER_VALUES_MAX: usize = 100_000;

/// Bodies of one batch that are turned into records: the smallest that the schema accepts has some 480
/// bytes, so 5 MB hold fewer than 11,000.
pub const BODIES_MAX: usize = 11_000;

/// Format errors after which the SdI stops and adds 00201 (RULES.md section 2).
pub const FORMAT_ERRORS_MAX: usize = 50;

/// Findings told for one code in one file: nobody reads more, and a hostile batch could ask for as many
/// as it has rows.
pub const FINDINGS_PER_CODE_MAX: usize = 500;

const _: () = assert!(FILE_BYTES_MAX < OPEN_BYTES_MAX);
const _: () = assert!(XML_ELEMENTS_MAX as usize >= FILE_BYTES_MAX / 20);
