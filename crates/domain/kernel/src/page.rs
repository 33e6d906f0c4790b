//! Keyset pages: a size, and the id of the last row already seen.

/// Rows asked for, 1 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSize(u8);

/// The size is not between 1 and 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("limit must be between 1 and 100")]
pub struct InvalidPageSize;

impl PageSize {
    /// Checks the bounds.
    pub fn parse(size: u32) -> Result<Self, InvalidPageSize> {
        match u8::try_from(size) {
            Ok(size @ 1..=100) => Ok(Self(size)),
            _ => Err(InvalidPageSize),
        }
    }

    /// One row: enough to tell whether there is any.
    pub const ONE: Self = Self(1);

    /// As a row count.
    pub fn rows(self) -> usize {
        usize::from(self.0)
    }
}

impl Default for PageSize {
    fn default() -> Self {
        Self(20)
    }
}

/// Which page of a list, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest<I> {
    /// Rows at most.
    pub size: PageSize,
    /// The last row of the page before; none for the first page.
    pub after: Option<I>,
}

impl<I> Default for PageRequest<I> {
    fn default() -> Self {
        Self { size: PageSize::default(), after: None }
    }
}

/// One page, and where the next one starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T, I> {
    /// The rows, newest first.
    pub items: Vec<T>,
    /// `after` of the next request; none on the last page.
    pub next: Option<I>,
}

impl<T, I> Page<T, I> {
    /// Makes a page of rows that were read with one more than `size`, the surplus row telling that another page follows.
    pub fn from_surplus(mut items: Vec<T>, size: PageSize, id: impl FnOnce(&T) -> I) -> Self {
        let more = items.len() > size.rows();
        items.truncate(size.rows());
        let next = if more { items.last().map(id) } else { None };
        Self { items, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_outside_the_bounds_are_refused() {
        assert_eq!(PageSize::parse(0), Err(InvalidPageSize));
        assert_eq!(PageSize::parse(101), Err(InvalidPageSize));
        assert_eq!(PageSize::parse(u32::MAX), Err(InvalidPageSize));
        assert_eq!(PageSize::parse(100).map(PageSize::rows), Ok(100));
    }

    #[test]
    fn only_a_surplus_row_makes_a_next_page() {
        let two = PageSize::parse(2).unwrap();
        let full = Page::from_surplus(vec![9, 8], two, |n| *n);
        assert_eq!(full, Page { items: vec![9, 8], next: None });
        let more = Page::from_surplus(vec![9, 8, 7], two, |n| *n);
        assert_eq!(more, Page { items: vec![9, 8], next: Some(8) });
    }
}
