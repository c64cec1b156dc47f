//! What words mean to the normaliser, whatever statement they are in. A frozen list: a change of it
//! changes fingerprints.

/// The part a word plays in the shape of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A name, or a keyword that shapes nothing.
    Name,
    /// Structural, with no part of its own.
    Structural,
    /// Structural, and ends an `ORDER BY` or `GROUP BY` list.
    Clause,
    /// Structural, and written like a function.
    Callable,
    /// `order`, `group`
    OrderOrGroup,
    /// `by`
    By,
    /// `in`
    In,
    /// `array`
    Array,
    /// `values`
    Values,
    /// `case`
    Case,
    /// `when`
    When,
    /// `else`
    Else,
    /// `end`
    End,
    /// `or`
    Or,
    /// `is`, `not`: what follows them is no value.
    IsOrNot,
    /// `true`, `false`, `null`
    Constant,
}

impl Role {
    pub(super) fn is_structural(self) -> bool {
        self != Self::Name
    }
}

/// The role of a word in lower case.
#[inline]
pub(super) fn role(word: &[u8]) -> Role {
    match word {
        b"in" => Role::In,
        b"by" => Role::By,
        b"or" => Role::Or,
        b"is" | b"not" => Role::IsOrNot,
        b"array" => Role::Array,
        b"values" => Role::Values,
        b"case" => Role::Case,
        b"when" => Role::When,
        b"else" => Role::Else,
        b"end" => Role::End,
        b"true" | b"false" | b"null" => Role::Constant,
        b"order" | b"group" => Role::OrderOrGroup,
        b"any" | b"all" | b"some" | b"exists" | b"extract" | b"left" | b"right" => Role::Callable,
        b"except" | b"fetch" | b"for" | b"from" | b"having" | b"intersect" | b"into" | b"limit"
        | b"offset" | b"on" | b"returning" | b"rows" | b"select" | b"set" | b"union"
        | b"update" | b"where" | b"window" => Role::Clause,
        b"as" | b"asc" | b"between" | b"cross" | b"default" | b"desc" | b"distinct" | b"filter"
        | b"full" | b"ilike" | b"inner" | b"isnull" | b"join" | b"lateral" | b"like"
        | b"natural" | b"notnull" | b"over" | b"partition" | b"row" | b"similar" | b"table"
        | b"then" | b"using" | b"with" | b"within" | b"and" => Role::Structural,
        _ => Role::Name,
    }
}

/// Must a name like this keep its quotes? Postgres 18's keywords of the classes RESERVED and
/// `TYPE_FUNC_NAME` (src/include/parser/kwlist.h), and the structural words.
pub(super) fn needs_quotes(name: &[u8]) -> bool {
    role(name).is_structural()
        || matches!(
            name,
            b"analyse"
                | b"analyze"
                | b"asymmetric"
                | b"authorization"
                | b"binary"
                | b"both"
                | b"cast"
                | b"check"
                | b"collate"
                | b"collation"
                | b"column"
                | b"concurrently"
                | b"constraint"
                | b"create"
                | b"current_catalog"
                | b"current_date"
                | b"current_role"
                | b"current_schema"
                | b"current_time"
                | b"current_timestamp"
                | b"current_user"
                | b"deferrable"
                | b"do"
                | b"foreign"
                | b"freeze"
                | b"grant"
                | b"initially"
                | b"leading"
                | b"localtime"
                | b"localtimestamp"
                | b"only"
                | b"outer"
                | b"overlaps"
                | b"placing"
                | b"primary"
                | b"references"
                | b"session_user"
                | b"symmetric"
                | b"system_user"
                | b"tablesample"
                | b"to"
                | b"trailing"
                | b"unique"
                | b"user"
                | b"variadic"
                | b"verbose"
        )
}
