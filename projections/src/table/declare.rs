//! How a read model declares its rows and tables: macros that keep structs and columns equal.

/// Declares a row and its table: a struct whose fields name their column's type.
/// After the key, the word `temporal` keeps every version of the rows.
macro_rules! table {
    (@marked $Row:ident temporal) => {
        impl $crate::table::Temporal for $Row {}
    };
    (@history [] $($rest:tt)*) => { None };
    (@history [temporal] $name:literal ($($key:ident),+) ($($field:ident = $sql:literal),*)
        ($($index:literal),*)) => {
        Some(&$crate::table::TableSpec {
            name: concat!($name, "_history"),
            key: &[$(stringify!($key),)+ "valid_from"],
            columns: &[
                $((stringify!($field), $sql),)*
                ("valid_from", "bigint not null"),
                ("valid_to", "bigint not null"),
            ],
            writing: &[concat!($(stringify!($key), ", ",)+ "valid_to")],
            indexes: &[
                "using gist (int8range(valid_from, valid_to))",
                $($index),*
            ],
            history: None,
        })
    };
    (
        $(#[$meta:meta])*
        pub struct $Row:ident in $name:literal ($($key:ident: $key_type:ty),+ $(,)?)
            $(, $temporal:ident)? {
            $( $(#[$field_meta:meta])* $field:ident: $type:ty = $sql:literal ),* $(,)?
        }
        $( index $index:literal )*
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, ::serde::Serialize, ::serde::Deserialize)]
        pub struct $Row {
            $( $(#[$field_meta])* pub $field: $type, )*
        }

        impl $crate::table::Row for $Row {
            type Key = ($($key_type,)+);
            const SPEC: $crate::table::TableSpec = $crate::table::TableSpec {
                name: $name,
                key: &[$(stringify!($key)),+],
                columns: &[$((stringify!($field), $sql)),*],
                writing: &[],
                indexes: &[$($index),*],
                history: $crate::table::table!(
                    @history [$($temporal)?] $name ($($key),+) ($($field = $sql),*) ($($index),*)
                ),
            };

            fn key(&self) -> Self::Key {
                ($(self.$key.clone(),)+)
            }

            fn key_json(key: &Self::Key) -> ::serde_json::Value {
                let ($($key,)+) = key;
                ::serde_json::json!({ $( stringify!($key): $key ),+ })
            }
        }

        $( $crate::table::table!(@marked $Row $temporal); )?
    };
}
pub(crate) use table;

/// Declares the tables of a read model.
macro_rules! row_set {
    ($(#[$meta:meta])* pub struct $Rows:ident {
        $( $(#[$field_meta:meta])* $field:ident: $Row:ty ),* $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        pub struct $Rows {
            $( $(#[$field_meta])* pub $field: $crate::table::Table<$Row>, )*
        }

        impl $crate::table::RowSet for $Rows {
            fn specs() -> Vec<$crate::table::TableSpec> {
                vec![$(<$Row as $crate::table::Row>::SPEC),*]
            }

            fn tables(&mut self) -> Vec<&mut dyn $crate::table::AnyTable> {
                vec![$(&mut self.$field),*]
            }
        }
    };
}
pub(crate) use row_set;
